//! How a JSON record becomes text: `"{title}\n\n{text}"`.
//!
//! A placeholder is a path through objects and arrays (`{messages.0.content}`), where `*` is every element of an array:
//! `{messages.*.content}` is a whole conversation, a blank line between two messages. A missing or null value is an error of
//! the record unless the path ends in `?`; an object or array is always one, because its JSON notation is not prose.
//! `{{` and `}}` stand for the braces themselves.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use serde_json::Value;
use thiserror::Error;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    written: String,
    parts: Vec<Part>,
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
        if parts.len() == 1 {
            return Err(TemplateError::Constant { template: written.to_owned() });
        }
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
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Field { path, is_optional } => match path.find_all(record).as_deref() {
                    None | Some([] | [Value::Null]) if *is_optional => {}
                    None | Some([]) => return Err(path.error("is missing")),
                    Some(values) => push_values(&mut text, values).map_err(|what| path.error(what))?,
                },
            }
        }
        Ok(text)
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

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

impl Serialize for FieldPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

// Parsing inside deserialisation keeps the line and column of the run file in the message.
impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        Self::parse(&written).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for FieldPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        Self::parse(&written).map_err(D::Error::custom)
    }
}
