//! How a JSON record becomes text: `"{title}\n\n{text}"`.
//!
//! A placeholder is a path through objects and arrays (`{messages.0.content}`), where `*` is every element of an array:
//! `{messages.*.content}` is a whole conversation, a blank line between two messages. A missing or null value is an error of
//! the record unless the path ends in `?`; an object or array is always one, because its JSON notation is not prose.
//! `{{` and `}}` stand for the braces themselves.
//!
//! Where several templates stand in a list, each record gets one of them ([`crate::Source`] says which).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::Value;
use thiserror::Error;

/// The field that is a statement's answer, and the one that is a turn's text.
const ANSWER: &str = "answer";
const TEXT: &str = "text";

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    written: String,
    parts: Vec<Part>,
}

/// One template, or a list of which each record gets one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Templates(Vec<Template>);

/// A template in which `{answer}` is the answer that is put to the test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Statement(Template);

/// A possible answer: words, or fields of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Answer(Template);

/// What stands before and behind the `{text}` of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnText {
    written: String,
    pub(crate) before: String,
    pub(crate) after: String,
}

/// A path to a value inside a record, as in `label` or `meta.labels.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    written: String,
    steps: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field { path: FieldPath, is_optional: bool },
}

/// A template or path that cannot be parsed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    /// `{` without `}`.
    #[error("{{ at character {at} is never closed; a brace itself is written {{{{")]
    Open {
        /// Where it stands, from 1.
        at: usize,
    },
    /// `}` without `{`.
    #[error("}} at character {at} closes nothing; a brace itself is written }}}}")]
    Close {
        /// Where it stands, from 1.
        at: usize,
    },
    /// `{}`, `{a..b}` or `{a b{`.
    #[error("{path:?} is not a field path such as title or messages.0.content")]
    Path {
        /// What stands between the braces.
        path: String,
    },
    /// Every record would give the same text.
    #[error("{template:?} names no field")]
    Constant {
        /// The template.
        template: String,
    },
    /// Both statements of a record would be the same.
    #[error("{template:?} has no {{answer}}, so what it says of a right and of a wrong answer is the same")]
    NoAnswer {
        /// The template.
        template: String,
    },
    /// The template of a turn that is not one text with words around it.
    #[error("{template:?} must hold {{text}} once and no other field")]
    NotOneText {
        /// The template.
        template: String,
    },
}

/// A field that a record does not have, or not as text.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("field {path:?} {what}")]
pub struct FieldError {
    path: String,
    what: &'static str,
}

impl Template {
    /// Parses what stands in the run file.
    pub fn parse(written: &str) -> Result<Self, TemplateError> {
        let template = Self::parse_any(written)?;
        match template.parts[..] {
            [_] => Err(TemplateError::Constant { template: written.to_owned() }),
            _ => Ok(template),
        }
    }

    /// The same for what may be words only.
    fn parse_any(written: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut chars = written.chars().enumerate().peekable();
        while let Some((index, char)) = chars.next() {
            let at = index + 1;
            let is_doubled = chars.peek().is_some_and(|&(_, next)| next == char);
            match char {
                '{' | '}' if is_doubled => {
                    chars.next();
                    literal.push(char);
                }
                '}' => return Err(TemplateError::Close { at }),
                '{' => {
                    let mut is_closed = false;
                    let inside = |&(_, char): &(usize, char)| {
                        is_closed = char == '}';
                        !is_closed
                    };
                    let path: String = chars.by_ref().take_while(inside).map(|(_, char)| char).collect();
                    if !is_closed {
                        return Err(TemplateError::Open { at });
                    }
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                    parts.push(parse_field(&path)?);
                }
                _ => literal.push(char),
            }
        }
        parts.push(Part::Literal(literal));
        Ok(Self { written: written.to_owned(), parts })
    }

    /// The outermost fields that it reads.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Field { path, .. } => Some(path.root()),
        })
    }

    /// The text of one record.
    pub fn render(&self, record: &Value) -> Result<String, FieldError> {
        self.render_with(record, None)
    }

    /// The same with a text of its own for `{answer}`.
    fn render_with(&self, record: &Value, answer: Option<&str>) -> Result<String, FieldError> {
        let mut text = String::new();
        for part in &self.parts {
            match (part, answer) {
                (Part::Field { path, .. }, Some(answer)) if path.written == ANSWER => text.push_str(answer),
                (Part::Literal(literal), _) => text.push_str(literal),
                (Part::Field { path, is_optional }, _) => match path.find_all(record).as_deref() {
                    None | Some([] | [Value::Null]) if *is_optional => {}
                    None | Some([]) => return Err(path.error("is missing")),
                    Some(values) => push_values(&mut text, values).map_err(|what| path.error(what))?,
                },
            }
        }
        Ok(text)
    }

    fn has_field(&self, name: &str) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Field { path, .. } if path.written == name))
    }
}

impl Templates {
    /// How many there are.
    pub(crate) fn n(&self) -> usize {
        self.0.len()
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Template] {
        &self.0
    }

    /// The outermost fields that they read.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(Template::roots)
    }
}

impl Statement {
    fn parse(written: &str) -> Result<Self, TemplateError> {
        let template = Template::parse_any(written)?;
        if !template.has_field(ANSWER) {
            return Err(TemplateError::NoAnswer { template: written.to_owned() });
        }
        Ok(Self(template))
    }

    /// The statement that an answer makes of a record.
    pub(crate) fn render(&self, record: &Value, answer: &str) -> Result<String, FieldError> {
        self.0.render_with(record, Some(answer))
    }

    /// The outermost fields that it reads.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &str> {
        self.0.roots().filter(|root| *root != ANSWER)
    }
}

impl Answer {
    /// The answer's words; `None` where it is made of fields that are empty or not there, as the fifth of four choices.
    pub(crate) fn render(&self, record: &Value) -> Result<Option<String>, FieldError> {
        let mut is_blank = self.0.parts.len() > 1;
        for part in &self.0.parts {
            let Part::Field { path, .. } = part else { continue };
            for value in path.find_all(record).into_iter().flatten() {
                let is_empty = value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
                is_blank &= is_empty;
            }
        }
        if is_blank { Ok(None) } else { self.0.render(record).map(|text| Some(text.trim().to_owned())) }
    }

    /// The outermost fields that it reads.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &str> {
        self.0.roots()
    }
}

impl TurnText {
    fn parse(written: &str) -> Result<Self, TemplateError> {
        let mut parts = Template::parse_any(written)?.parts.into_iter();
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (
                Some(Part::Literal(before)),
                Some(Part::Field { path, is_optional: false }),
                Some(Part::Literal(after)),
                None,
            ) if path.written == TEXT => Ok(Self { written: written.to_owned(), before, after }),
            _ => Err(TemplateError::NotOneText { template: written.to_owned() }),
        }
    }
}

impl FieldPath {
    /// Parses a dotted path.
    pub fn parse(written: &str) -> Result<Self, TemplateError> {
        let steps: Vec<String> = written.split('.').map(str::to_owned).collect();
        if steps.iter().any(String::is_empty) || written.contains(['{', '}', '?']) {
            return Err(TemplateError::Path { path: written.to_owned() });
        }
        Ok(Self { written: written.to_owned(), steps })
    }

    /// The outermost field that it reads.
    pub(crate) fn root(&self) -> &str {
        self.steps.first().map_or("", |step| step)
    }

    /// The boolean of one record.
    pub fn boolean(&self, record: &Value) -> Result<bool, FieldError> {
        let value = self.find(record).ok_or_else(|| self.error("is missing"))?;
        value.as_bool().ok_or_else(|| self.error("is neither true nor false"))
    }

    /// The name of a class: a text, a number or a boolean as it is written.
    pub(crate) fn class(&self, record: &Value) -> Result<String, FieldError> {
        match self.find(record).ok_or_else(|| self.error("is missing"))? {
            Value::String(name) => Ok(name.trim().to_owned()),
            Value::Bool(value) => Ok(value.to_string()),
            Value::Number(number) => match number.as_f64() {
                // Tables keep classes as floating-point numbers where some rows have none.
                Some(value) if value.fract() == 0.0 && value.abs() < 1e15 => Ok(format!("{value:.0}")),
                _ => Ok(number.to_string()),
            },
            Value::Null => Err(self.error("is null")),
            Value::Array(_) | Value::Object(_) => Err(self.error("is neither text, number nor boolean")),
        }
    }

    fn find<'a>(&self, record: &'a Value) -> Option<&'a Value> {
        self.steps.iter().try_fold(record, |value, step| match value {
            Value::Object(fields) => fields.get(step),
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// The same with `*` for every element of an array; `None` where one of them lacks what the path asks for.
    fn find_all<'a>(&self, record: &'a Value) -> Option<Vec<&'a Value>> {
        let mut found = vec![record];
        for step in &self.steps {
            let mut next = Vec::with_capacity(found.len());
            for value in found {
                match value {
                    Value::Array(items) if step == "*" => next.extend(items),
                    Value::Array(items) => next.push(items.get(step.parse::<usize>().ok()?)?),
                    Value::Object(fields) => next.push(fields.get(step)?),
                    _ => return None,
                }
            }
            found = next;
        }
        Some(found)
    }

    fn error(&self, what: &'static str) -> FieldError {
        FieldError { path: self.written.clone(), what }
    }
}

fn parse_field(written: &str) -> Result<Part, TemplateError> {
    let path = FieldPath::parse(written.strip_suffix('?').unwrap_or(written))?;
    Ok(Part::Field { path, is_optional: written.ends_with('?') })
}

fn push_values(text: &mut String, values: &[&Value]) -> Result<(), &'static str> {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            text.push_str("\n\n");
        }
        push_value(text, value)?;
    }
    Ok(())
}

fn push_value(text: &mut String, value: &Value) -> Result<(), &'static str> {
    match value {
        Value::Null => return Err("is null"),
        Value::Object(_) => return Err("is an object, not text"),
        Value::Array(_) => return Err("is an array, not text"),
        Value::String(value) => text.push_str(value),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(value) => text.push_str(&value.to_string()),
    }
    Ok(())
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.written)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.written)
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

impl Serialize for TurnText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

impl Serialize for FieldPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

/// As it was written: a list of one is not the same as a text, but gives the same documents.
impl Serialize for Templates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

// Parsing inside deserialisation keeps the line and column of the run file in the message.
macro_rules! deserialize_parsed {
    ($($kind:ty: $parse:expr),*) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let written = String::deserialize(deserializer)?;
                $parse(&written).map_err(D::Error::custom)
            }
        }
    )*};
}

deserialize_parsed!(
    Template: Template::parse,
    FieldPath: FieldPath::parse,
    Statement: Statement::parse,
    TurnText: TurnText::parse,
    Answer: |written| Template::parse_any(written).map(Answer)
);

impl<'de> Deserialize<'de> for Templates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrSeveral)
    }
}

struct OneOrSeveral;

impl<'de> Visitor<'de> for OneOrSeveral {
    type Value = Templates;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a template such as \"{title}\\n\\n{text}\", or a list of them")
    }

    fn visit_str<E: serde::de::Error>(self, written: &str) -> Result<Templates, E> {
        Template::parse(written).map(|template| Templates(vec![template])).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut written: A) -> Result<Templates, A::Error> {
        let mut templates = Vec::new();
        while let Some(template) = written.next_element()? {
            templates.push(template);
        }
        if templates.is_empty() {
            return Err(A::Error::invalid_length(0, &self));
        }
        Ok(Templates(templates))
    }
}

impl From<Template> for Templates {
    fn from(template: Template) -> Self {
        Self(vec![template])
    }
}
