//! Dialogues: turns of a record, and how templates of the run file make a text of them.
//!
//! A dialogue stays in pieces until it is written: the words of the template and the turns. Repair looks at each turn by
//! itself and never at the template's words, so that where an answer begins and ends is known without looking for it, and a
//! text is the same whichever of its tokens carry loss.

use corpus::Span;
use serde::{Deserialize, Serialize};

use crate::template::TurnText;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// What both sides are told beforehand.
    System,
    User,
    Assistant,
    /// What a tool answered that the assistant called.
    Tool,
}

/// What one of them says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) role: Role,
    pub(crate) text: String,
}

/// How a dialogue is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DialogueTemplate {
    system: TurnText,
    user: TurnText,
    assistant: TurnText,
    /// Left out, dialogues with tools cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tool: Option<TurnText>,
    /// What stands behind the last turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<String>,
}

/// Which tokens of an instruction carry loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// All, as in FLM-101B.
    All,
    /// What the assistant says, and the end of the text.
    Responses,
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) part: Part,
    pub(crate) text: String,
}

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Words of the template.
    Words,
    /// A turn that is not the assistant's.
    Prompt,
    /// A turn of the assistant.
    Response,
}

impl DialogueTemplate {
    /// Whether something stands behind the last turn.
    pub(crate) fn has_end(&self) -> bool {
        self.end.as_ref().is_some_and(|end| !end.trim().is_empty())
    }

    /// The pieces of a dialogue: words and turns by turns, beginning and ending with words.
    pub(crate) fn pieces(&self, turns: &[Turn]) -> Result<Vec<Piece>, String> {
        let mut words = String::new();
        let mut pieces = Vec::with_capacity(2 * turns.len() + 1);
        for (index, Turn { role, text }) in turns.iter().enumerate() {
            let (template, part) = match role {
                Role::System => (&self.system, Part::Prompt),
                Role::User => (&self.user, Part::Prompt),
                Role::Assistant => (&self.assistant, Part::Response),
                Role::Tool => {
                    let missing = || format!("has a tool's answer as turn {}, and a template without tool", index + 1);
                    (self.tool.as_ref().ok_or_else(missing)?, Part::Prompt)
                }
            };
            words.push_str(&template.before);
            pieces.push(Piece { part: Part::Words, text: std::mem::take(&mut words) });
            pieces.push(Piece { part, text: text.clone() });
            words.push_str(&template.after);
        }
        words.push_str(self.end.as_deref().unwrap_or_default());
        pieces.push(Piece { part: Part::Words, text: words });
        // No text begins or ends with white space; turns are trimmed when they are repaired.
        for (index, is_start) in [(0, true), (pieces.len() - 1, false)] {
            let words = &mut pieces[index].text;
            *words = if is_start { words.trim_start() } else { words.trim_end() }.to_owned();
        }
        Ok(pieces)
    }
}

/// The text that pieces make.
pub(crate) fn join(pieces: &[Piece]) -> String {
    pieces.iter().map(|piece| &piece.text[..]).collect()
}

/// Where in it the responses stand, in bytes.
pub(crate) fn responses(pieces: &[Piece]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut at = 0_usize;
    let place = |at: usize| u32::try_from(at).expect("a document has fewer than 2^32 bytes");
    for Piece { part, text } in pieces {
        let span = Span { start: place(at), end: place(at + text.len()) };
        at += text.len();
        match spans.last_mut() {
            _ if *part != Part::Response => {}
            // Two answers with no word between them are one.
            Some(last) if last.end == span.start => last.end = span.end,
            _ => spans.push(span),
        }
    }
    spans
}
