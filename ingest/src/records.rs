//! Records of instructions as they are published, each layout read into turns.
//!
//! - `alpaca`: `instruction`, `input`, `output`; also `history` (pairs of question and answer) and `system`. Belle, too.
//! - `sharegpt`: `conversations` of `from` and `value`; also `system`.
//! - `openai`: `messages` of `role` and `content`, which is text or a list of parts with text.
//! - `oig` (LAION): `text` with `<human>:` and `<bot>:` before each turn; what stands before the first is the background.
//! - `coig` (BAAI): five layouts told apart by their fields, see [`coig`].
//! - `dpo`: a dialogue with a better and a worse answer, `chosen` and `rejected`, in the layouts of [`preference`].
//!
//! A record of another layout is a bad one; the message names the field. A system turn of white space is none. What a tool
//! answered (`observation`, `tool`) is a turn of its own, a call of it (`function_call`) is the assistant's; descriptions
//! of tools are not read. Turns behind the last answer are cut off, since nobody answers them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::dialogue::{Role, Turn};

/// A published layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `instruction`, `input`, `output`.
    Alpaca,
    /// `conversations` of `from` and `value`.
    Sharegpt,
    /// `messages` of `role` and `content`.
    Openai,
    /// `text` with markers.
    Oig,
    /// The five layouts of COIG.
    Coig,
    /// A dialogue with `chosen` and `rejected`.
    Dpo,
}

/// How a message says who speaks and what.
#[derive(Clone, Copy)]
struct Keys {
    role: &'static str,
    text: &'static str,
}

const FROM_VALUE: Keys = Keys { role: "from", text: "value" };
const ROLE_CONTENT: Keys = Keys { role: "role", text: "content" };

/// Rounds of COIG's chats are numbered from 0.
const ROUND: &str = "round_";

type Fields = Map<String, Value>;

impl Layout {
    fn as_str(self) -> &'static str {
        match self {
            Self::Alpaca => "alpaca",
            Self::Sharegpt => "sharegpt",
            Self::Openai => "openai",
            Self::Oig => "oig",
            Self::Coig => "coig",
            Self::Dpo => "dpo",
        }
    }

    /// The fields that may be read, for tables of which only some columns are.
    pub(crate) fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Alpaca => &["instruction", "input", "output", "history", "system"],
            Self::Sharegpt => &["conversations", "system"],
            Self::Openai => &["messages"],
            Self::Oig => &["text"],
            Self::Coig => &[
                "instruction",
                "input",
                "output",
                "trans_instruction",
                "trans_input",
                "trans_output",
                "textbox_q_instruction",
                "textbox_q_context",
                "textbox_question",
                "textbox_answer",
                "textbox_answer_analysis",
                "round_0",
                "round_1",
                "round_2",
                "round_3",
                "round_4",
                "round_5",
                "round_6",
                "round_7",
                "round_8",
                "round_9",
            ],
            Self::Dpo => &[
                "system",
                "prompt",
                "question",
                "instruction",
                "input",
                "conversations",
                "chosen",
                "rejected",
                "chosen_messages",
                "rejected_messages",
            ],
        }
    }

    /// The turns of a record, of a pair of preferences with the better answer.
    pub(crate) fn turns(self, record: &Value) -> Result<Vec<Turn>, String> {
        let fields = object(record)?;
        let turns = match self {
            Self::Alpaca => alpaca(fields, ["instruction", "input", "output"]),
            Self::Sharegpt => {
                let mut turns = system(fields)?;
                turns.extend(messages(fields, "conversations", FROM_VALUE)?);
                Ok(turns)
            }
            Self::Openai => messages(fields, "messages", ROLE_CONTENT),
            Self::Oig => oig(text(fields, "text")?),
            Self::Coig => coig(fields),
            Self::Dpo => preference(record, true),
        }?;
        answered(turns)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// The dialogue of a pair of preferences, with the better answer or with the worse one. Published are:
/// - `conversations` with `chosen` and `rejected` as messages of `from` and `value` (LLaMA-Factory);
/// - `chosen` and `rejected` as lists of messages, with the prompt (UltraFeedback) or behind a `prompt` of messages (TRL);
///   also as `chosen_messages` and `rejected_messages`;
/// - `chosen` and `rejected` as texts behind a `prompt` or `question`, or an `instruction` with `input`;
/// - `chosen` and `rejected` as texts that hold the whole dialogue with `Human:` and `Assistant:` (HH-RLHF).
pub(crate) fn preference(record: &Value, is_better: bool) -> Result<Vec<Turn>, String> {
    let fields = object(record)?;
    let key = if is_better { "chosen" } else { "rejected" };
    let in_full = if is_better { "chosen_messages" } else { "rejected_messages" };
    let mut turns = system(fields)?;
    if fields.contains_key("conversations") {
        turns.extend(messages(fields, "conversations", FROM_VALUE)?);
        turns.push(message(get(fields, key)?, key, FROM_VALUE)?);
        return answered(turns);
    }
    if fields.contains_key(in_full) {
        turns.extend(messages(fields, in_full, ROLE_CONTENT)?);
        return answered(turns);
    }
    let answer = get(fields, key)?;
    let prompt = match fields.get("prompt") {
        Some(Value::Array(_)) => messages(fields, "prompt", ROLE_CONTENT)?,
        _ => prompt_text(fields)?.into_iter().map(|text| turn(Role::User, text)).collect(),
    };
    match answer {
        Value::Array(_) => {
            let answer = messages(fields, key, ROLE_CONTENT)?;
            // The prompt is told again where messages begin with it.
            let is_whole = answer.iter().any(|turn| turn.role == Role::User);
            turns.extend(if is_whole { Vec::new() } else { prompt });
            turns.extend(answer);
        }
        Value::String(answer) if !prompt.is_empty() => {
            turns.extend(prompt);
            turns.push(turn(Role::Assistant, answer.clone()));
        }
        Value::String(dialogue) => turns.extend(human_and_assistant(dialogue, key)?),
        _ => return Err(format!("field {key:?} is neither text nor a list of messages")),
    }
    answered(turns)
}

/// What a pair of texts answers, if that stands in a field of its own.
fn prompt_text(fields: &Fields) -> Result<Option<String>, String> {
    if fields.contains_key("instruction") {
        return Ok(Some(prompt(text(fields, "instruction")?, optional(fields, "input")?)));
    }
    let key = ["prompt", "question"].into_iter().find(|key| fields.contains_key(*key));
    key.map(|key| text(fields, key).map(str::to_owned)).transpose()
}

/// HH-RLHF's notation.
fn human_and_assistant(dialogue: &str, key: &str) -> Result<Vec<Turn>, String> {
    let (before, turns) = split_at(dialogue, &[("\n\nHuman:", Role::User), ("\n\nAssistant:", Role::Assistant)]);
    if turns.is_empty() || !before.trim().is_empty() {
        return Err(format!("field {key:?} is text without a prompt, and does not begin with \"Human:\""));
    }
    Ok(turns)
}

/// The layouts of COIG's files, by their fields: `trans_instruction` (translated_instructions), `textbox_question`
/// (exam_instructions and the second part of human_value_alignment_instructions), `round_0` (the multi-round chats with
/// counterfactual corrections), else `instruction` (the first part of human_value_alignment_instructions, and leetcode).
fn coig(fields: &Fields) -> Result<Vec<Turn>, String> {
    if fields.contains_key("trans_instruction") {
        return alpaca(fields, ["trans_instruction", "trans_input", "trans_output"]);
    }
    if fields.contains_key("textbox_question") {
        let asked = [
            optional(fields, "textbox_q_instruction")?,
            optional(fields, "textbox_q_context")?,
            text(fields, "textbox_question")?,
        ];
        let answered = [text(fields, "textbox_answer")?, optional(fields, "textbox_answer_analysis")?];
        return Ok(vec![turn(Role::User, lines(&asked)), turn(Role::Assistant, lines(&answered))]);
    }
    if fields.keys().any(|key| key.starts_with(ROUND)) {
        return coig_rounds(fields);
    }
    if !fields.contains_key("instruction") {
        return Err(
            "has none of the fields \"trans_instruction\", \"textbox_question\", \"round_0\", \"instruction\"".into()
        );
    }
    alpaca(fields, ["instruction", "input", "output"])
}

/// Rounds whose `response` is JSON in a text: `Q` and `A`, as a model wrote them. The chat ends before the first that is not.
fn coig_rounds(fields: &Fields) -> Result<Vec<Turn>, String> {
    let mut turns = Vec::new();
    for round in (0..).map(|index| format!("{ROUND}{index}")) {
        let Some(answered) = fields.get(&round) else { break };
        let response = answered.get("response").and_then(Value::as_str).unwrap_or_default();
        let fenced = response.trim().trim_start_matches("```json").trim_matches('`');
        let Ok(Value::Object(said)) = serde_json::from_str(fenced) else { break };
        let [Some(Value::String(question)), Some(Value::String(answer))] = ["Q", "A"].map(|key| said.get(key)) else {
            break;
        };
        turns.extend([turn(Role::User, question.clone()), turn(Role::Assistant, answer.clone())]);
    }
    if turns.is_empty() {
        return Err(format!("field \"{ROUND}0.response\" is no JSON with the texts \"Q\" and \"A\""));
    }
    Ok(turns)
}

fn alpaca(fields: &Fields, [instruction, input, output]: [&str; 3]) -> Result<Vec<Turn>, String> {
    let mut turns = system(fields)?;
    match fields.get("history") {
        None | Some(Value::Null) => {}
        Some(Value::Array(pairs)) => {
            for (index, pair) in pairs.iter().enumerate() {
                let Some([Value::String(question), Value::String(answer)]) = pair.as_array().map(Vec::as_slice) else {
                    return Err(format!("field \"history.{index}\" is not a question and an answer"));
                };
                turns.extend([turn(Role::User, question.clone()), turn(Role::Assistant, answer.clone())]);
            }
        }
        Some(_) => return Err("field \"history\" is not a list".into()),
    }
    turns.push(turn(Role::User, prompt(text(fields, instruction)?, optional(fields, input)?)));
    turns.push(turn(Role::Assistant, text(fields, output)?.to_owned()));
    Ok(turns)
}

fn oig(text: &str) -> Result<Vec<Turn>, String> {
    let (background, turns) = split_at(text, &[("<human>:", Role::User), ("<bot>:", Role::Assistant)]);
    let mut all = Vec::with_capacity(turns.len() + 1);
    if !background.trim().is_empty() {
        all.push(turn(Role::System, background.to_owned()));
    }
    all.extend(turns);
    Ok(all)
}

/// What stands before the first marker, and the turns behind each. A marker inside a word is none.
fn split_at<'a>(text: &'a str, markers: &[(&str, Role)]) -> (&'a str, Vec<Turn>) {
    let mut found: Vec<(usize, usize, Role)> = Vec::new();
    for &(marker, role) in markers {
        let is_apart =
            |at: usize| marker.starts_with('\n') || text[..at].chars().next_back().is_none_or(char::is_whitespace);
        let places = text.match_indices(marker).map(|(at, _)| at).filter(|&at| is_apart(at));
        found.extend(places.map(|at| (at, at + marker.len(), role)));
    }
    found.sort_by_key(|&(at, ..)| at);
    let ends = found.iter().skip(1).map(|&(at, ..)| at).chain([text.len()]);
    let turns = found.iter().zip(ends).map(|(&(_, start, role), end)| turn(role, text[start..end].to_owned()));
    (found.first().map_or(text, |&(at, ..)| &text[..at]), turns.collect())
}

fn messages(fields: &Fields, key: &str, keys: Keys) -> Result<Vec<Turn>, String> {
    let messages = get(fields, key)?.as_array().ok_or_else(|| format!("field {key:?} is not a list of messages"))?;
    let all = messages.iter().enumerate().map(|(index, one)| message(one, &format!("{key}.{index}"), keys));
    let mut turns = all.collect::<Result<Vec<_>, _>>()?;
    turns.retain(|turn| turn.role != Role::System || !turn.text.trim().is_empty());
    Ok(turns)
}

/// `place` is where the message stands.
fn message(message: &Value, place: &str, keys: Keys) -> Result<Turn, String> {
    let fields = message.as_object().ok_or_else(|| format!("field {place:?} is not a message"))?;
    let within = |what: String| format!("in {place:?}, {what}");
    let role = text(fields, keys.role).map_err(within)?;
    let role = match role {
        "system" | "developer" => Role::System,
        "human" | "user" => Role::User,
        "gpt" | "assistant" | "chatgpt" | "bot" | "function_call" => Role::Assistant,
        "observation" | "tool" | "function" | "function_response" => Role::Tool,
        other => return Err(within(format!("{:?} is {other:?}, which is no role", keys.role))),
    };
    let said = match get(fields, keys.text).map_err(within)? {
        Value::Array(parts) => {
            let parts = parts.iter().map(part_text).collect::<Result<Vec<_>, _>>();
            lines(&parts.map_err(|what| within(format!("field {:?} {what}", keys.text)))?)
        }
        _ => text(fields, keys.text).map_err(within)?.to_owned(),
    };
    Ok(turn(role, said))
}

/// `{"type": "text", "text": …}`; some write the text as `value`.
fn part_text(part: &Value) -> Result<&str, String> {
    let kind = part.get("type").and_then(Value::as_str).unwrap_or("none");
    if kind != "text" {
        return Err(format!("holds a part of type {kind:?}, which is not text"));
    }
    let text = part.get("text").or_else(|| part.get("value")).and_then(Value::as_str);
    text.ok_or_else(|| "holds a part without text".into())
}

/// Cuts off what nobody answers.
fn answered(mut turns: Vec<Turn>) -> Result<Vec<Turn>, String> {
    let last = turns.iter().rposition(|turn| turn.role == Role::Assistant);
    turns.truncate(last.ok_or("holds no answer of an assistant")? + 1);
    Ok(turns)
}

fn system(fields: &Fields) -> Result<Vec<Turn>, String> {
    let system = optional(fields, "system")?;
    let is_told = !system.trim().is_empty();
    Ok(is_told.then(|| turn(Role::System, system.to_owned())).into_iter().collect())
}

fn prompt(instruction: &str, input: &str) -> String {
    lines(&[instruction, input])
}

/// The texts that say something, a line for each.
fn lines(texts: &[&str]) -> String {
    let texts: Vec<&str> = texts.iter().copied().filter(|text| !text.trim().is_empty()).collect();
    texts.join("\n")
}

fn turn(role: Role, text: String) -> Turn {
    Turn { role, text }
}

fn object(record: &Value) -> Result<&Fields, String> {
    record.as_object().ok_or_else(|| "is not an object".into())
}

fn get<'a>(fields: &'a Fields, key: &str) -> Result<&'a Value, String> {
    fields.get(key).ok_or_else(|| format!("field {key:?} is missing"))
}

fn text<'a>(fields: &'a Fields, key: &str) -> Result<&'a str, String> {
    match get(fields, key)? {
        Value::String(text) => Ok(text),
        Value::Null => Err(format!("field {key:?} is null")),
        _ => Err(format!("field {key:?} is not text")),
    }
}

/// Empty where the field is null or not there.
fn optional<'a>(fields: &'a Fields, key: &str) -> Result<&'a str, String> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(""),
        Some(_) => text(fields, key),
    }
}
