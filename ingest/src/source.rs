//! `[[source]]` of the run file, as written and as checked: where documents come from, and what of a record is text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use corpus::{DocId, Kind, Seed};
use serde::de::{Deserializer, Error as _, Unexpected};
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::dialogue::{DialogueTemplate, Loss};
use crate::records::Layout;
use crate::template::{Answer, FieldPath, Statement, Template, Templates};

/// The formats whose records have fields.
const WITH_FIELDS: &str = "formats \"jsonl\", \"json\", \"csv\" and \"parquet\"";

const PROPOSITION: &str = "kind \"proposition\"";

/// One `[[source]]`, checked and with its path resolved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Source {
    /// Its name, unique in the run.
    pub name: String,
    /// A file, or a folder of files. Not serialised: results depend on what the files hold, not on where they lie.
    #[serde(skip)]
    pub path: PathBuf,
    /// What its documents are for.
    pub kind: Kind,
    /// Licence of its documents.
    pub license: String,
    /// How its files are cut into documents.
    pub reading: Reading,
    /// The run's seed where something is drawn for each record; else another seed would make the same documents again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// How files are cut into documents.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// Records with fields.
    Fields {
        /// How they lie in files.
        format: FieldsFormat,
        /// What of the record is text.
        content: Content,
        /// Where the record came from.
        url: Option<Template>,
        /// The text is a web page whose main text is wanted.
        is_html: bool,
    },
    /// Running text, a file or a piece of one a document.
    Text {
        /// What stands between two documents of a file.
        separator: Option<String>,
    },
    /// One web page a file.
    Html,
    /// Markdown, a file a document.
    Markdown,
    /// Crawl archives: the web pages and texts in WARC, WET and ARC files.
    Warc,
    /// The articles of a MediaWiki dump in XML.
    Mediawiki,
}

/// How records with fields lie in files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldsFormat {
    /// One JSON object a line.
    Jsonl,
    /// JSON objects one after another, or in an array.
    Json,
    /// Values parted by commas, one record a line.
    Csv {
        /// Names of the columns, for files that do not begin with them.
        columns: Option<Vec<String>>,
    },
    /// Tables whose rows are read as if they were JSON objects.
    Parquet,
}

/// What of a record is text, and whether it is true.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// One document.
    Plain(Templates),
    /// One proposition whose truth is a field of the record.
    Labelled {
        /// The statement.
        text: Templates,
        /// Whether it is true.
        label: FieldPath,
    },
    /// A true proposition and a false one.
    Pair {
        /// The true statement.
        true_text: Template,
        /// The false statement.
        false_text: Template,
    },
    /// A true proposition and a false one: what is said of the right answer, and of a wrong one.
    Answers {
        /// What is said of an answer.
        statements: Vec<Statement>,
        /// The class of the right answer.
        label: FieldPath,
        /// All answers, by class.
        answers: BTreeMap<String, Answer>,
    },
    /// A dialogue; of a pair of preferences the one with the better answer.
    Dialogue {
        /// The published layout of the record.
        records: Layout,
        /// How it is written.
        templates: Vec<DialogueTemplate>,
        /// Which tokens carry loss.
        loss: Loss,
    },
    /// A true proposition and a false one: the dialogue with the better answer, and with the worse one.
    Preference {
        /// How it is written.
        templates: Vec<DialogueTemplate>,
    },
}

impl Content {
    /// Whether something is drawn for each record.
    fn draws(&self) -> bool {
        match self {
            Self::Plain(text) | Self::Labelled { text, .. } => text.n() > 1,
            Self::Pair { .. } => false,
            Self::Answers { statements, answers, .. } => statements.len() > 1 || answers.len() > 2,
            Self::Dialogue { templates, .. } | Self::Preference { templates } => templates.len() > 1,
        }
    }
}

/// `[[source]]` as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSource {
    name: Name,
    path: PathBuf,
    format: Format,
    kind: Kind,
    license: Name,
    url: Option<Template>,
    markup: Option<Markup>,
    separator: Option<Name>,
    columns: Option<Vec<Name>>,
    text: Option<Templates>,
    label: Option<FieldPath>,
    true_text: Option<Template>,
    false_text: Option<Template>,
    statements: Option<Vec<Statement>>,
    answers: Option<BTreeMap<String, Answer>>,
    records: Option<Layout>,
    templates: Option<Vec<DialogueTemplate>>,
    loss: Option<Loss>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Jsonl,
    Json,
    Csv,
    Text,
    Html,
    Markdown,
    Warc,
    Mediawiki,
    Parquet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Markup {
    Html,
}

/// Text that is not empty.
#[derive(Clone, Debug)]
struct Name(String);

/// Checks the sources of a run; `folder` is the one the run file lies in, from which paths are reckoned, `seed` the run's.
pub fn resolve_sources(raw: Vec<RawSource>, folder: &Path, seed: u64) -> Result<Vec<Source>, ConfigError> {
    let mut names = BTreeSet::new();
    let mut sources = Vec::with_capacity(raw.len());
    for raw in raw {
        let source = resolve_source(raw, folder, seed)?;
        if !names.insert(source.name.clone()) {
            return Err(ConfigError::DuplicateName { name: source.name });
        }
        sources.push(source);
    }
    Ok(sources)
}

fn resolve_source(raw: RawSource, folder: &Path, seed: u64) -> Result<Source, ConfigError> {
    raw.check_format()?;
    let fields_format = match raw.format {
        Format::Jsonl => Some(FieldsFormat::Jsonl),
        Format::Json => Some(FieldsFormat::Json),
        Format::Parquet => Some(FieldsFormat::Parquet),
        Format::Csv => {
            let columns = raw.columns.as_ref();
            let columns = columns.map(|names| names.iter().map(|Name(name)| name.clone()).collect());
            Some(FieldsFormat::Csv { columns })
        }
        _ => None,
    };
    let (mut reading, mut own_seed) = (None, None);
    if let Some(format) = fields_format {
        let content = resolve_content(&raw)?;
        own_seed = content.draws().then_some(seed);
        let (url, is_html) = (raw.url.clone(), raw.markup == Some(Markup::Html));
        reading = Some(Reading::Fields { format, content, url, is_html });
    }
    let RawSource { name: Name(name), path, format, kind, license: Name(license), separator, .. } = raw;
    let reading = reading.unwrap_or_else(|| match format {
        Format::Text => Reading::Text { separator: separator.map(|Name(separator)| separator) },
        Format::Html => Reading::Html,
        Format::Markdown => Reading::Markdown,
        Format::Warc => Reading::Warc,
        Format::Mediawiki => Reading::Mediawiki,
        Format::Jsonl | Format::Json | Format::Csv | Format::Parquet => unreachable!("they have fields"),
    });
    Ok(Source { name, path: folder.join(path), kind, license, reading, seed: own_seed })
}

/// What of a record is text. Every key of a way that was not taken is refused, so that none is thought to be at work.
fn resolve_content(raw: &RawSource) -> Result<Content, ConfigError> {
    let missing = |key| ConfigError::Missing { name: raw.name.0.clone(), key };
    if let Some(records) = raw.records {
        return resolve_dialogue(raw, records);
    }
    raw.refuse(raw.templates.is_some(), "templates", "sources with records")?;
    raw.refuse(raw.loss.is_some(), "loss", "sources with records")?;
    if raw.kind != Kind::Proposition {
        for (is_set, key) in [
            (raw.label.is_some(), "label"),
            (raw.true_text.is_some(), "true_text"),
            (raw.false_text.is_some(), "false_text"),
            (raw.statements.is_some(), "statements"),
            (raw.answers.is_some(), "answers"),
        ] {
            raw.refuse(is_set, key, PROPOSITION)?;
        }
        return Ok(Content::Plain(raw.text.clone().ok_or_else(|| missing("text"))?));
    }
    if let Some(statements) = &raw.statements {
        return resolve_answers(raw, statements.clone());
    }
    raw.refuse(raw.answers.is_some(), "answers", "sources with statements")?;
    match (&raw.true_text, &raw.false_text) {
        (Some(true_text), Some(false_text)) => {
            let is_text_set = raw.text.is_some() || raw.label.is_some();
            raw.refuse(is_text_set, "text or label", "sources without true_text")?;
            raw.refuse(raw.markup.is_some(), "markup", "sources without true_text")?;
            Ok(Content::Pair { true_text: true_text.clone(), false_text: false_text.clone() })
        }
        (Some(_), None) => {
            raw.refuse(raw.text.is_some() || raw.label.is_some(), "text or label", "sources without true_text")?;
            Err(missing("false_text"))
        }
        (None, Some(_)) => Err(missing("true_text")),
        (None, None) => Ok(Content::Labelled {
            text: raw.text.clone().ok_or_else(|| missing("text"))?,
            label: raw.label.clone().ok_or_else(|| missing("label, or true_text with false_text,"))?,
        }),
    }
}

fn resolve_answers(raw: &RawSource, statements: Vec<Statement>) -> Result<Content, ConfigError> {
    for (is_set, key) in [
        (raw.text.is_some(), "text"),
        (raw.true_text.is_some(), "true_text"),
        (raw.false_text.is_some(), "false_text"),
        (raw.markup.is_some(), "markup"),
    ] {
        raw.refuse(is_set, key, "sources without statements")?;
    }
    let missing = |key| ConfigError::Missing { name: raw.name.0.clone(), key };
    let few = |key, least| ConfigError::TooFew { name: raw.name.0.clone(), key, least };
    let label = raw.label.clone().ok_or_else(|| missing("label"))?;
    let answers = raw.answers.clone().ok_or_else(|| missing("answers"))?;
    match (statements.len(), answers.len()) {
        (0, _) => Err(few("statements", 1)),
        (_, 0 | 1) => Err(few("answers", 2)),
        _ => Ok(Content::Answers { statements, label, answers }),
    }
}

fn resolve_dialogue(raw: &RawSource, records: Layout) -> Result<Content, ConfigError> {
    for (is_set, key) in [
        (raw.text.is_some(), "text"),
        (raw.label.is_some(), "label"),
        (raw.true_text.is_some(), "true_text"),
        (raw.false_text.is_some(), "false_text"),
        (raw.statements.is_some(), "statements"),
        (raw.answers.is_some(), "answers"),
        (raw.markup.is_some(), "markup"),
    ] {
        raw.refuse(is_set, key, "sources without records")?;
    }
    raw.refuse(raw.kind == Kind::Plain, "records", "kinds \"instruction\" and \"proposition\"")?;
    let missing = |key| ConfigError::Missing { name: raw.name.0.clone(), key };
    let templates = raw.templates.clone().ok_or_else(|| missing("templates"))?;
    if templates.is_empty() {
        return Err(ConfigError::TooFew { name: raw.name.0.clone(), key: "templates", least: 1 });
    }
    if raw.kind == Kind::Instruction {
        let loss = raw.loss.ok_or_else(|| missing("loss"))?;
        return Ok(Content::Dialogue { records, templates, loss });
    }
    raw.refuse(records != Layout::Dpo, PROPOSITION, "records \"dpo\", of the layouts there are")?;
    raw.refuse(raw.loss.is_some(), "loss", "kind \"instruction\"")?;
    if !templates.iter().all(DialogueTemplate::has_end) {
        return Err(ConfigError::NoEnd { name: raw.name.0.clone() });
    }
    Ok(Content::Preference { templates })
}

impl RawSource {
    fn refuse(&self, is_set: bool, key: &'static str, only_for: &'static str) -> Result<(), ConfigError> {
        match is_set {
            true => Err(ConfigError::NotApplicable { name: self.name.0.clone(), key, only_for }),
            false => Ok(()),
        }
    }

    /// Refuses keys that the format has no use for.
    fn check_format(&self) -> Result<(), ConfigError> {
        let format = self.format;
        if !matches!(format, Format::Jsonl | Format::Json | Format::Csv | Format::Parquet) {
            for (is_set, key) in [
                (self.text.is_some(), "text"),
                (self.url.is_some(), "url"),
                (self.markup.is_some(), "markup"),
                (self.records.is_some(), "records"),
                (self.templates.is_some(), "templates"),
                (self.loss.is_some(), "loss"),
                (self.label.is_some(), "label"),
                (self.true_text.is_some(), "true_text"),
                (self.false_text.is_some(), "false_text"),
                (self.statements.is_some(), "statements"),
                (self.answers.is_some(), "answers"),
                (self.kind == Kind::Proposition, PROPOSITION),
            ] {
                self.refuse(is_set, key, WITH_FIELDS)?;
            }
        }
        self.refuse(self.separator.is_some() && format != Format::Text, "separator", "format \"text\"")?;
        self.refuse(self.columns.is_some() && format != Format::Csv, "columns", "format \"csv\"")
    }
}

impl Source {
    /// Which of `n` a record gets: a function of the run's seed, the source and the record's place, whatever reads it.
    pub(crate) fn draw(&self, what: &str, locator: &str, n: usize) -> usize {
        let Some(seed) = self.seed.filter(|_| n > 1) else { return 0 };
        let key = Seed::root(seed).stream("ingest").stream(what).order_key(&DocId::new(&self.name, locator).0);
        (key % n as u64) as usize
    }
}

impl Reading {
    /// Whether only answers carry loss.
    pub(crate) fn is_loss_on_responses(&self) -> bool {
        matches!(self, Self::Fields { content: Content::Dialogue { loss: Loss::Responses, .. }, .. })
    }

    /// Whether each record makes a true proposition and a false one.
    pub(crate) fn has_pairs(&self) -> bool {
        let Self::Fields { content, .. } = self else { return false };
        matches!(content, Content::Pair { .. } | Content::Answers { .. } | Content::Preference { .. })
    }

    /// The names of the fields that the templates begin at, each once.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let Self::Fields { content, url, .. } = self else { return Vec::new() };
        let mut fields: BTreeSet<&str> = url.iter().flat_map(Template::roots).collect();
        match content {
            Content::Plain(text) => fields.extend(text.roots()),
            Content::Labelled { text, label } => fields.extend(text.roots().chain([label.root()])),
            Content::Pair { true_text, false_text } => fields.extend(true_text.roots().chain(false_text.roots())),
            Content::Answers { statements, label, answers } => {
                fields.extend(statements.iter().flat_map(Statement::roots));
                fields.extend(answers.values().flat_map(Answer::roots));
                fields.insert(label.root());
            }
            Content::Dialogue { records, .. } => fields.extend(records.fields()),
            Content::Preference { .. } => fields.extend(Layout::Dpo.fields()),
        }
        fields.into_iter().collect()
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Err(D::Error::invalid_value(Unexpected::Str(&text), &"text that is not empty"));
        }
        Ok(Self(text))
    }
}
