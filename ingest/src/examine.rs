//! One record through everything that looks at it alone: reading, repair, language, quality, privacy, contamination.
//!
//! The outcome is a function of the record and the settings, so records are examined in any order on any number of
//! threads. What compares documents with each other comes later, in [`crate::duplicates`].
//!
//! The order: an address on the block list goes before its text is looked at. Text is repaired before anything is counted in it.
//! The language decides which rules ask. Models score what the rules left. Private data is replaced last but one, so that no rule
//! sees a placeholder; evaluation items are looked for in what would be trained on.

use std::borrow::Cow;

use corpus::{DocId, Document, Dropped, Kind};
use serde_json::json;

use crate::config::{ChineseScript, IngestConfig, Measured};
use crate::decontaminate::{Decontaminator, Hit, read_items};
use crate::dialogue::responses;
use crate::duplicates::{Fingerprint, fingerprint};
use crate::funnel::Funnel;
use crate::language::{Language, Script, Unit, detect_language};
use crate::models::Models;
use crate::normalise::normalise_with;
use crate::privacy::{Private, replace_private};
use crate::read::{Bad, Found, Record, read_documents};
use crate::rules::{Bound, Judgement, Limit, QUALITY_SIGNALS, Rules, Scope, Scratch, judge, signals};
use crate::run::{BadRecord, IngestError};
use crate::simplified::to_simplified;
use crate::source::Source;
use crate::urls::{BlockedUrls, url_key};

/// Signals that come from the rest of the corpus stand last: documents that this one stands for (itself and those that
/// repeat it), and characters that were cut out because they stood in earlier documents.
const LATE_SIGNALS: [&str; 2] = ["cluster_size", "repeated_chars"];

/// The rule that drops a labelled record whose label names no answer.
const UNLABELLED: &str = "unlabelled";

/// The rule that drops what is left of a pair of propositions.
pub(crate) const UNPAIRED: &str = "unpaired";

/// Characters of a dropped document that are kept to argue about.
const EXCERPT_CHARS: usize = 240;

/// Bad records of a shard that are listed; all are counted.
const BAD_LISTED: usize = 1000;

/// What became of one document.
#[derive(Debug)]
pub(crate) enum Examined {
    /// It may stay unless it repeats another one.
    Candidate(Box<Candidate>),
    /// It was dropped.
    Dropped(Box<Dropped>),
}

#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) document: Document,
    pub(crate) locator: String,
    pub(crate) fingerprint: Fingerprint,
}

/// What became of some records.
#[derive(Default)]
pub(crate) struct Examination {
    pub(crate) examined: Vec<Examined>,
    pub(crate) funnel: Funnel,
    pub(crate) n_bad: u64,
    /// The first of them.
    pub(crate) bad: Vec<BadRecord>,
}

/// The settings with whatever was made of them beforehand.
pub(crate) struct Examiner<'a> {
    pub(crate) config: &'a IngestConfig,
    blocked: Option<BlockedUrls>,
    models: Models,
    decontaminator: Option<Decontaminator>,
}

/// A document whose language is known.
struct Known {
    found: Found,
    language: Language,
    /// What was asked so far, and kept.
    limits: Vec<Limit>,
}

/// A document that every rule was asked about.
struct Judged {
    found: Found,
    language: Language,
    limits: Vec<Limit>,
    measured: Vec<f32>,
}

/// What one rule says of a document.
pub(crate) enum Answer {
    /// It drops the document.
    Drops {
        /// The document's language.
        lang: String,
        /// The evidence.
        detail: String,
        /// The document's text, or its beginning.
        text: String,
    },
    /// It lets the document pass.
    Passes {
        /// The document's language.
        lang: &'static str,
        /// What was measured.
        limit: Limit,
        /// The document's text.
        text: String,
    },
    /// The document does not get as far, or the rule has no limit and nothing against it.
    NotAsked,
}

/// The names of all rules, in the order in which a document meets them.
pub(crate) fn rule_names(config: &IngestConfig) -> Vec<String> {
    let mut names =
        vec!["unreadable", UNLABELLED, "urls.blocked", "empty", "too_long", "language", "language_confidence"];
    for language in &config.languages {
        names.extend(config.rules(language).limits().iter().map(|limit| limit.rule));
    }
    names.extend(Models::rules(config));
    names.extend(["contamination", "duplicates.url", "duplicates.exact", "duplicates.near", "duplicates.repeated"]);
    names.push(UNPAIRED);
    names.dedup();
    names.into_iter().map(str::to_owned).collect()
}

/// The names of all signals, in the order of [`Document::signals`].
pub(crate) fn signal_names(config: &IngestConfig) -> Vec<String> {
    let own = std::iter::once("lang_confidence").chain(QUALITY_SIGNALS).chain(Models::columns(config));
    own.chain(LATE_SIGNALS).map(str::to_owned).collect()
}

/// Sets the signals that come from the rest of the corpus.
pub(crate) fn set_late_signals(document: &mut Document, cluster_size: u64, n_repeated_chars: usize) {
    let own = document.signals.len() - LATE_SIGNALS.len();
    document.signals[own..].copy_from_slice(&[cluster_size as f32, n_repeated_chars as f32]);
}

/// Asks about language and quality again once repeated pieces were cut out of a document: what is left of a page in two
/// languages may be in the other one. Gives the rule that drops it and the evidence, or brings its signals up to date.
pub(crate) fn examine_again(
    document: &mut Document,
    config: &IngestConfig,
    scratch: &mut Scratch,
) -> Result<(), (&'static str, String)> {
    const AFTER: &str = "after repeated pieces were cut out";
    let language = detect_language(&document.text);
    if !config.languages.iter().any(|accepted| accepted == language.code) {
        let detail = format!("{} at {:.3} {AFTER}, {} before", language.code, language.confidence, document.lang);
        return Err(("language", detail));
    }
    language.code.clone_into(&mut document.lang);
    let rules = config.rules(language.code);
    if config.measured == Measured::Judged && matches!(rules, Rules::Unjudged(_)) {
        return Ok(());
    }
    let judgement = judge(&document.text, rules, Scope::UntilBroken, scratch);
    if let Some(limit) = judgement.broken() {
        return Err((limit.rule, format!("{limit} {AFTER}")));
    }
    document.signals[0] = language.confidence as f32;
    for (signal, value) in document.signals[1..].iter_mut().zip(signals(&judgement.measures)) {
        *signal = value as f32;
    }
    if let Cow::Owned(text) = judgement.text {
        document.text = text;
    }
    Ok(())
}

/// Drops the half of a pair whose other half was dropped: what a model is told is true must not outweigh what it is told is
/// false. Only a pair comes of one record as two documents.
fn drop_unpaired(examined: &mut [Examined]) {
    let [one, other] = examined else { return };
    let (left, dropped) = match (&*one, &*other) {
        (Examined::Candidate(_), Examined::Dropped(dropped)) => (0, dropped),
        (Examined::Dropped(dropped), Examined::Candidate(_)) => (1, dropped),
        _ => return,
    };
    let detail = unpaired_by(&dropped.rule);
    let Examined::Candidate(candidate) = &examined[left] else { unreachable!("it was matched above") };
    let dropped = dropped_from(&candidate.document, candidate.locator.clone(), UNPAIRED, detail);
    examined[left] = Examined::Dropped(Box::new(dropped));
}

/// The evidence of [`UNPAIRED`].
pub(crate) fn unpaired_by(rule: &str) -> String {
    format!("{rule} dropped its other half")
}

/// What stays of a document that was found good and goes all the same.
pub(crate) fn dropped_from(document: &Document, locator: String, rule: &str, detail: String) -> Dropped {
    Dropped {
        id: document.id,
        source: document.source.clone(),
        locator,
        lang: document.lang.clone(),
        kind: document.kind,
        rule: rule.to_owned(),
        detail,
        excerpt: excerpt(&document.text),
    }
}

/// The beginning of a text, on one line.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_CHARS).map(|char| if char == '\n' { ' ' } else { char }).collect()
}

impl<'a> Examiner<'a> {
    pub(crate) fn new(config: &'a IngestConfig) -> Result<Self, IngestError> {
        let decontaminator = match &config.decontamination {
            Some(settings) => Some(Decontaminator::build(&read_items(&settings.sets)?, settings)),
            None => None,
        };
        let blocked = config.urls.as_ref().map(|urls| BlockedUrls::read(&urls.blocked)).transpose()?;
        Ok(Self { config, blocked, models: Models::prepare(config)?, decontaminator })
    }

    /// Examines records, each given with the number of its source.
    pub(crate) fn examine_all(&self, records: Vec<(usize, Record)>, sources: &[Source]) -> Examination {
        let mut examination = Examination::default();
        let mut scratch = Scratch::default();
        for (source, record) in records {
            let source = &sources[source];
            let start = examination.examined.len();
            for found in read_documents(record, source, &self.config.reading) {
                examination.funnel.count_in(&source.name);
                let examined = match found {
                    Ok(found) => self.examine(found, source, &mut scratch, &mut examination.funnel),
                    Err(bad) => examination.note_bad(bad, source),
                };
                examination.examined.push(examined);
            }
            let own = &mut examination.examined[start..];
            drop_unpaired(own);
            for examined in own {
                if let Examined::Dropped(dropped) = examined {
                    examination.funnel.count_dropped(dropped);
                }
            }
        }
        examination
    }

    fn examine(&self, found: Found, source: &Source, scratch: &mut Scratch, funnel: &mut Funnel) -> Examined {
        match self.judge(found, source, Scope::UntilBroken, scratch, funnel) {
            Ok(judged) => self.keep(judged, source, funnel),
            Err(dropped) => Examined::Dropped(dropped),
        }
    }

    /// Everything up to the first rule that drops the document; with [`Scope::Everything`] all limits are asked and none drops.
    fn judge(
        &self,
        found: Found,
        source: &Source,
        scope: Scope,
        scratch: &mut Scratch,
        funnel: &mut Funnel,
    ) -> Result<Judged, Box<Dropped>> {
        let known = self.repair(found, source, scope, funnel)?;
        let rules = match source.kind {
            Kind::Plain => self.config.rules(known.language.code),
            Kind::Instruction | Kind::Proposition => Rules::Unjudged(Unit::of(known.language.code)),
        };
        let mut all = known.limits;
        let (mut edited, mut measured) = (None, vec![f32::NAN; QUALITY_SIGNALS.len()]);
        if self.config.measured == Measured::All || !matches!(rules, Rules::Unjudged(_)) {
            let Judgement { text, measures, limits } = judge(&known.found.text, rules, scope, scratch);
            measured = signals(&measures).map(|value| value as f32).to_vec();
            all.extend(limits);
            if let Cow::Owned(text) = text {
                edited = Some(text);
            }
        }
        if scope == Scope::Everything || !all.iter().any(Limit::is_broken) {
            let scored = edited.as_ref().unwrap_or(&known.found.text);
            let scores = self.models.score(scored, known.language.code, self.config);
            measured.extend(scores.columns);
            // Models, too, judge plain documents only.
            all.extend(scores.limits.into_iter().filter(|_| source.kind == Kind::Plain));
        }
        let mut judged = Judged { found: known.found, language: known.language, limits: all, measured };
        let broken = judged.limits.iter().find(|limit| limit.is_broken());
        if let (Scope::UntilBroken, Some(limit)) = (scope, broken) {
            return Err(refuse(&judged.found, source, judged.language.code, limit.rule, limit.to_string()));
        }
        if let Some(edited) = edited {
            assert!(judged.found.pieces.is_empty(), "rules take lines out of plain documents only");
            funnel.count("characters in lines that C4 takes out", (judged.found.text.len() - edited.len()) as u64);
            judged.found.text = edited;
        }
        Ok(judged)
    }

    /// Repairs a text and finds its language.
    fn repair(
        &self,
        mut found: Found,
        source: &Source,
        scope: Scope,
        funnel: &mut Funnel,
    ) -> Result<Known, Box<Dropped>> {
        let config = self.config;
        if let Some(what) = found.unlabelled.take() {
            return Err(refuse(&found, source, "unknown", UNLABELLED, what));
        }
        let blocked = self.blocked.as_ref().zip(found.url.as_ref()).and_then(|(list, url)| list.find(url));
        if let Some(entry) = blocked {
            return Err(refuse(&found, source, "unknown", "urls.blocked", format!("the list holds {entry}")));
        }
        found.edit(|text| {
            let normalised = normalise_with(text, &config.normalise);
            funnel.count("lines decoded again", normalised.n_misread_lines.into());
            funnel.count("lines of page frames taken out", normalised.n_boilerplate_lines.into());
            funnel.count("characters lost before they came here", normalised.n_replacement_chars.into());
            Some(normalised.text)
        });
        if found.text.is_empty() {
            return Err(refuse(&found, source, "unknown", "empty", "nothing is left to read".into()));
        }
        if found.has_empty_turn() {
            return Err(refuse(&found, source, "unknown", "empty", "nothing is left to read of a turn".into()));
        }
        let n_chars = found.text.chars().count() as f64;
        let length = Limit { rule: "too_long", value: n_chars, bound: Bound::Max(config.document_chars_max as f64) };
        if length.is_broken() {
            return Err(refuse(&found, source, "unknown", length.rule, length.to_string()));
        }
        let mut language = detect_language(&found.text);
        if config.chinese_script == ChineseScript::Simplified
            && language.code == "zh"
            && language.script != Some(Script::Hans)
        {
            found.edit(|text| Some(to_simplified(text)));
            language.script = language.script.map(|_| Script::Hans);
        }
        let is_accepted = config.languages.iter().any(|accepted| accepted == language.code);
        // A guess is no evidence that a text is Norwegian.
        if !is_accepted && language.confidence >= config.language_confidence_min {
            let accepted = config.languages.join(", ");
            let detail = format!("{} at {:.3}, accepted {accepted}", language.code, language.confidence);
            return Err(refuse(&found, source, language.code, "language", detail));
        }
        let confidence = Limit {
            rule: "language_confidence",
            value: language.confidence,
            bound: Bound::Min(config.language_confidence_min),
        };
        if confidence.is_broken() && (scope == Scope::UntilBroken || !is_accepted) {
            let detail = format!("{}, {confidence}", language.code);
            return Err(refuse(&found, source, language.code, confidence.rule, detail));
        }
        Ok(Known { found, language, limits: vec![length, confidence] })
    }

    /// The last steps of a document that no rule drops.
    fn keep(&self, judged: Judged, source: &Source, funnel: &mut Funnel) -> Examined {
        let Judged { mut found, language, limits, measured } = judged;
        if let Some(privacy) = &self.config.privacy {
            found.edit(|text| {
                let (replaced, counts) = replace_private(text, privacy);
                for (kind, n) in Private::ALL.into_iter().zip(counts) {
                    funnel.count(kind.signal(), n.into());
                }
                replaced
            });
        }
        if let Some(detail) = self.contamination(&found.text) {
            return Examined::Dropped(refuse(&found, source, language.code, "contamination", detail));
        }
        let url = found.url.as_deref().and_then(url_key);
        let fingerprint =
            fingerprint(&found.text, language.code, (source.kind, found.label), url, &self.config.duplicates);
        let mut signals: Vec<f32> = vec![language.confidence as f32];
        signals.extend(measured);
        signals.extend([1.0, 0.0]);
        let document = Document {
            id: DocId::new(&source.name, &found.locator),
            lang: language.code.to_owned(),
            source: source.name.clone(),
            kind: source.kind,
            license: source.license.clone(),
            label: found.label,
            loss: source.reading.is_loss_on_responses().then(|| responses(&found.pieces)),
            meta: meta(&found, &language),
            signals,
            url: found.url,
            text: found.text,
        };
        funnel.note_passed(&document, &found.locator, &limits);
        Examined::Candidate(Box::new(Candidate { document, locator: found.locator, fingerprint }))
    }

    /// Every evaluation item that the text holds, as evidence.
    fn contamination(&self, text: &str) -> Option<String> {
        let hits = self.decontaminator.as_ref()?.hits(text);
        let show = |Hit { task, item, n_matched, n_ngrams, excerpt }: &Hit| {
            format!("{task} {item}: {n_matched} of {n_ngrams} n-grams at {excerpt:?}")
        };
        (!hits.is_empty()).then(|| hits.iter().map(show).collect::<Vec<_>>().join("; "))
    }

    /// What one rule says of a document, whatever the others say. Limits are asked even of documents that break others.
    pub(crate) fn ask(&self, rule: &str, found: Found, source: &Source, scratch: &mut Scratch) -> Answer {
        let mut funnel = Funnel::default();
        let drops =
            |dropped: Dropped| Answer::Drops { lang: dropped.lang, detail: dropped.detail, text: dropped.excerpt };
        match self.judge(found.clone(), source, Scope::Everything, scratch, &mut funnel) {
            Err(dropped) if dropped.rule == rule => return drops(*dropped),
            Err(_) => return Answer::NotAsked,
            Ok(Judged { found, language, limits, .. }) => {
                let mut asked: Vec<Limit> = limits.into_iter().filter(|limit| limit.rule == rule).collect();
                // A rule may have a least and a greatest value: what is broken speaks first, then what is nearer.
                asked.sort_by(|one, other| {
                    other.is_broken().cmp(&one.is_broken()).then(one.distance().total_cmp(&other.distance()))
                });
                if let Some(&limit) = asked.first() {
                    let (lang, text) = (language.code, found.text);
                    return match limit.is_broken() {
                        true => Answer::Drops { lang: lang.to_owned(), detail: limit.to_string(), text },
                        false => Answer::Passes { lang, limit, text },
                    };
                }
            }
        }
        match self.examine(found, source, scratch, &mut funnel) {
            Examined::Dropped(dropped) if dropped.rule == rule => drops(*dropped),
            _ => Answer::NotAsked,
        }
    }
}

impl Examination {
    fn note_bad(&mut self, bad: Bad, source: &Source) -> Examined {
        let Bad { locator, what } = bad;
        self.n_bad += 1;
        if self.bad.len() < BAD_LISTED {
            self.bad.push(BadRecord { source: source.name.clone(), locator: locator.clone(), what: what.clone() });
        }
        let found = Found { locator, ..Found::default() };
        Examined::Dropped(refuse(&found, source, "unknown", "unreadable", what))
    }
}

fn meta(found: &Found, language: &Language) -> String {
    let mut meta = json!({ "locator": found.locator });
    for (name, value) in &found.meta {
        meta[*name] = json!(value);
    }
    if let Some(script) = language.script {
        meta["script"] = json!(script.as_str());
    }
    meta.to_string()
}

fn refuse(found: &Found, source: &Source, lang: &str, rule: &str, detail: String) -> Box<Dropped> {
    Box::new(Dropped {
        id: DocId::new(&source.name, &found.locator),
        source: source.name.clone(),
        locator: found.locator.clone(),
        lang: lang.to_owned(),
        kind: source.kind,
        rule: rule.to_owned(),
        detail,
        excerpt: excerpt(&found.text),
    })
}
