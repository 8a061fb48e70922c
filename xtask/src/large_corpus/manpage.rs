//! The text of a manual page, without its typesetting.
//!
//! The pages are written in troff with the macros of `man` and `mdoc`. What is wanted here is running text to filter,
//! and not a faithful page: macros that only set type are taken off, conditions and definitions are left out whole,
//! and no register is ever evaluated. Cost: one pass.

/// Requests whose arguments are text.
const TEXT_MACROS: [&str; 30] = [
    "B", "I", "R", "BR", "RB", "BI", "IB", "IR", "RI", "SM", "SB", "IP", "It", "Nm", "Nd", "Ar", "Fl", "Cm", "Pa",
    "Xr", "Op", "Dq", "Sq", "Pq", "Ql", "Li", "Ic", "Em", "Sy", "An",
];

/// Macros that set their arguments in turns, without a space between.
const JOINING_MACROS: [&str; 6] = ["BR", "RB", "BI", "IB", "IR", "RI"];

/// Returns paragraphs with an empty line between two of them.
pub(super) fn text_of_manual_page(page: &str) -> String {
    let mut paragraphs = Paragraphs::default();
    let mut definition = false;
    for line in page.lines() {
        let Some(control) = line.strip_prefix(['.', '\'']) else {
            if !definition {
                paragraphs.add(&unescaped(line));
            }
            continue;
        };
        let control = control.trim_start();
        let name_end = control.find([' ', '\t']).unwrap_or(control.len());
        let (name, rest) = control.split_at(name_end);
        match name {
            "de" | "ig" | "am" => definition = true,
            "." if definition => definition = false,
            _ if definition => {}
            "TH" | "Dt" | "SH" | "Sh" | "SS" | "Ss" => {
                paragraphs.end();
                paragraphs.add(&arguments(rest).join(" "));
                paragraphs.end();
            }
            "PP" | "LP" | "P" | "TP" | "HP" | "sp" | "Sp" | "Pp" | "RS" | "RE" | "bp" => paragraphs.end(),
            "br" => paragraphs.end_line(),
            "nf" | "Vb" | "CS" | "EX" | "Bd" => paragraphs.keep_lines(true),
            "fi" | "Ve" | "CE" | "EE" | "Ed" => paragraphs.keep_lines(false),
            _ if TEXT_MACROS.contains(&name) => {
                if name == "IP" || name == "It" {
                    paragraphs.end();
                }
                let arguments = arguments(rest);
                let arguments = if name == "IP" { &arguments[..arguments.len().min(1)] } else { &arguments[..] };
                paragraphs.add(&arguments.join(if JOINING_MACROS.contains(&name) { "" } else { " " }));
            }
            _ => {}
        }
    }
    paragraphs.end();
    paragraphs.text
}

#[derive(Default)]
struct Paragraphs {
    text: String,
    paragraph: String,
    keeps_lines: bool,
}

impl Paragraphs {
    fn add(&mut self, line: &str) {
        let line = if self.keeps_lines { line.trim_end() } else { line.trim() };
        if line.is_empty() {
            return self.end();
        }
        if self.keeps_lines {
            self.end_line();
        }
        // Chinese does not put a space where a line was broken.
        let is_wide = |character: Option<char>| character.is_some_and(|it| it >= '\u{2e80}' || "“”‘’…—".contains(it));
        let is_joined = is_wide(self.paragraph.chars().next_back()) && is_wide(line.chars().next());
        if !is_joined && !self.paragraph.is_empty() && !self.paragraph.ends_with('\n') {
            self.paragraph.push(' ');
        }
        self.paragraph.push_str(line);
    }

    fn end_line(&mut self) {
        if !self.paragraph.is_empty() && !self.paragraph.ends_with('\n') {
            self.paragraph.push('\n');
        }
    }

    fn keep_lines(&mut self, keeps_lines: bool) {
        self.end();
        self.keeps_lines = keeps_lines;
    }

    fn end(&mut self) {
        if !self.paragraph.is_empty() && !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&self.paragraph);
        self.end_of_text();
        self.paragraph.clear();
    }

    fn end_of_text(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }
}

/// The arguments of a macro: words, or quoted runs of words in which two quotes stand for one.
fn arguments(rest: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut rest = rest.trim_start();
    while !rest.is_empty() && !rest.starts_with("\\\"") {
        let (argument, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => {
                // A backslash keeps the character behind it, a space included, in the word.
                let mut is_escaped = false;
                let end = rest.find(|character: char| {
                    let ends = !is_escaped && character.is_whitespace();
                    is_escaped = character == '\\' && !is_escaped;
                    ends
                });
                rest.split_at(end.unwrap_or(rest.len()))
            }
        };
        arguments.push(unescaped(argument));
        rest = after.trim_start();
    }
    arguments
}

/// The line without escapes: fonts, sizes and motions go, named characters become themselves.
fn unescaped(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(escape_idx) = rest.find('\\') {
        text.push_str(&rest[..escape_idx]);
        let escape = &rest[escape_idx + 1..];
        let Some(kind) = escape.chars().next() else { return text };
        let after = &escape[kind.len_utf8()..];
        rest = match kind {
            '"' | '#' => return text,
            '-' | '.' | '\'' | '`' | '_' => {
                text.push(kind);
                after
            }
            'e' | '\\' => {
                text.push('\\');
                after
            }
            ' ' | '~' | '0' | 't' => {
                text.push(' ');
                after
            }
            '(' => {
                let (name, after) = split_name(escape);
                text.push_str(special_character(name));
                after
            }
            '[' => {
                let (name, after) = split_name(escape);
                text.push_str(special_character(name));
                after
            }
            'f' | 'F' | 'm' | 'M' | 'n' | 'g' | 'k' | 'Y' => split_name(after.trim_start_matches(['+', '-'])).1,
            '*' => {
                let (name, after) = split_name(after);
                text.push_str(predefined_string(name));
                after
            }
            's' => {
                let after = after.trim_start_matches(['+', '-']);
                after.strip_prefix(|digit: char| digit.is_ascii_digit()).unwrap_or_else(|| split_name(after).1)
            }
            'h' | 'v' | 'w' | 'l' | 'L' | 'o' | 'x' | 'b' | 'D' | 'N' | 'H' | 'S' | 'A' | 'B' | 'R' | 'X' | 'Z' => {
                let inner = after.strip_prefix('\'').unwrap_or(after);
                inner.split_once('\'').map_or("", |(_, after)| after)
            }
            _ => after,
        };
    }
    text.push_str(rest);
    text
}

/// A name of one character, of two behind `(`, or of any number in brackets; and what follows it.
fn split_name(escape: &str) -> (&str, &str) {
    if let Some(inner) = escape.strip_prefix('[') {
        return inner.split_once(']').unwrap_or((inner, ""));
    }
    let (inner, n_chars) = match escape.strip_prefix('(') {
        Some(inner) => (inner, 2),
        None => (escape, 1),
    };
    let end = inner.char_indices().nth(n_chars).map_or(inner.len(), |(end, _)| end);
    inner.split_at(end)
}

fn special_character(name: &str) -> &'static str {
    match name {
        "em" => "—",
        "en" => "–",
        "hy" | "mi" => "-",
        "lq" | "rq" | "dq" => "\"",
        "oq" | "cq" | "aq" => "'",
        "ga" => "`",
        "bu" => "•",
        "co" => "©",
        "rg" => "®",
        "ti" => "~",
        "ha" => "^",
        "rs" => "\\",
        "bv" | "or" => "|",
        "la" => "<",
        "ra" => ">",
        "mu" => "×",
        "->" => "→",
        "<-" => "←",
        ">=" => "≥",
        "<=" => "≤",
        "+-" => "±",
        _ => "",
    }
}

fn predefined_string(name: &str) -> &'static str {
    match name {
        "lq" | "L\"" | "C\"" | "rq" | "R\"" => "\"",
        "Aq" | "C'" => "'",
        "--" => "—",
        "R" => "®",
        "Tm" => "™",
        _ => "",
    }
}
