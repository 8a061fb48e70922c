//! The page: facts in, HTML out. One function a section, in reading order.

mod corpus;
mod plan;
mod results;
mod search;
mod training;

use std::fmt::Write;

use super::checks::{Check, Measure, Verdict, checks};
use super::facts::Facts;
use super::markup::{duration, escape, fixed, language, money, scientific, share, short, short_hash, whole};

const STYLE: &str = include_str!("style.css");

/// Anchor, heading and content of a section.
type Section = (&'static str, &'static str, fn(&Facts) -> String);

/// Everything below the summary, in reading order.
pub(super) const SECTIONS: [Section; 11] = [
    ("holds", "What must hold", must_hold),
    ("corpus", "The corpus", corpus::corpus),
    ("mix", "The mix", corpus::mix),
    ("search", "Search and prediction", search::search),
    ("training", "Training", training::training),
    ("growth", "Growth", training::growth),
    ("cost", "What it cost", training::cost),
    ("plan", "What was planned", plan::plan),
    ("evaluation", "Evaluation", results::evaluation),
    ("samples", "What it writes", results::samples),
    ("again", "The same again", results::again),
];

/// The whole page.
pub(super) fn page(facts: &Facts) -> String {
    let title = escape(&facts.title);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<header>\n<p class=\"kicker\">Run {} · seed {}</p>\n<h1>{title}</h1>\n{}</header>\n",
        escape(&facts.name),
        facts.seed,
        summary(facts),
    );
    html.push_str("<nav aria-label=\"Sections\">");
    for (anchor, heading, _) in SECTIONS {
        let _ = write!(html, "<a href=\"#{anchor}\">{heading}</a> ");
    }
    html.push_str("</nav>\n");
    for (anchor, heading, section) in SECTIONS {
        let content = section(facts);
        let _ = write!(html, "<section id=\"{anchor}\">\n<h2>{heading}</h2>\n{content}</section>\n");
    }
    let hash = short_hash(&facts.run_hash);
    let _ = write!(html, "</main>\n<footer><p>moso, run configuration {hash}</p></footer>\n</body>\n</html>\n");
    html
}

fn summary(facts: &Facts) -> String {
    let (corpus, plan) = (&facts.corpus, &facts.plan);
    let parameters = |stage: Option<&planner::StagePlan>| stage.map_or(0, |stage| stage.shape.n_parameters());
    let (first, last) = (parameters(plan.stages.first()), parameters(plan.stages.last()));
    let grown = if first == last {
        format!("A model of {} parameters", short(last as f64))
    } else {
        format!("A model that grew from {} to {} parameters", short(first as f64), short(last as f64))
    };
    let losses: Vec<(String, String)> = facts
        .last_validations(None)
        .into_iter()
        .map(|(lang, row)| (escape(language(lang)), fixed(row.loss, 2)))
        .collect();
    let ends: Vec<String> = losses
        .iter()
        .enumerate()
        .map(|(index, (lang, loss))| format!("{loss}{} in {lang}", if index == 0 { " nats a token" } else { "" }))
        .collect();
    let ends = match ends.len() {
        0 => "was not validated".to_owned(),
        _ => format!("ends at a validation loss of {}", ends.join(" and ")),
    };
    let (seconds, n_tokens) = (facts.seconds(), short(facts.log.tokens() as f64));
    let (time, price) = (duration(seconds), money(facts.cost.usd(seconds)));
    let sentence = format!(
        "{grown} read {n_tokens} tokens, packed from {} of {} documents, and {ends}, after \
         {time} of training for {price}.",
        whole(corpus.n_kept),
        whole(corpus.n_in),
    );
    let mut tiles = vec![
        ("Documents kept".to_owned(), whole(corpus.n_kept), format!("{} of all", share(corpus.n_kept, corpus.n_in))),
        ("Tokens trained on".to_owned(), n_tokens, format!("{} stages", plan.stages.len())),
        ("Parameters".to_owned(), short(last as f64), format!("{} at the start", short(first as f64))),
    ];
    tiles.extend(losses.into_iter().map(|(lang, loss)| (lang, loss, "validation loss, nats".to_owned())));
    tiles.push(("Training time".to_owned(), time, price));
    let mut html = format!("<p class=\"lead\">{sentence}</p>\n<dl class=\"tiles\">\n");
    for (name, value, note) in tiles {
        let _ = writeln!(html, "<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>");
    }
    html.push_str("</dl>\n");
    html
}

fn must_hold(facts: &Facts) -> String {
    let groups = checks(facts);
    let all: Vec<&Check> = groups.iter().flat_map(|(_, checks)| checks).collect();
    let n = |verdict| all.iter().filter(|check| check.verdict == verdict).count();
    let (fails, unknown) = (n(Verdict::Fails), n(Verdict::NotMeasured));
    let verdict = match (fails, unknown) {
        (0, 0) => format!("<p class=\"verdict pass\">All {} conditions hold.</p>\n", all.len()),
        (0, unknown) => format!(
            "<p class=\"verdict unknown\">{} of {} conditions hold; {unknown} were not measured.</p>\n",
            n(Verdict::Holds),
            all.len()
        ),
        (fails, _) => format!("<p class=\"verdict fail\">{fails} of {} conditions fail.</p>\n", all.len()),
    };
    let mut html = verdict;
    for (heading, checks) in &groups {
        let _ = write!(html, "<h3>{heading}</h3>\n<ul class=\"checks\">\n");
        checks.iter().for_each(|check| html.push_str(&check_item(check)));
        html.push_str("</ul>\n");
    }
    html
}

fn check_item(check: &Check) -> String {
    let (class, mark) = match check.verdict {
        Verdict::Holds => ("pass", "pass"),
        Verdict::Fails => ("fail", "fail"),
        Verdict::NotMeasured => ("unknown", "not measured"),
    };
    let measure = match check.measure {
        Measure::AtMost(found, limit) => format!("<b>{}</b> ≤ {}", scientific(found), scientific(limit)),
        Measure::Below(found, limit) => format!("<b>{}</b> &lt; {}", fixed(found, 3), fixed(limit, 3)),
        Measure::Equal(left, right) => format!("<b>{}</b> = {}", whole(left), whole(right)),
        Measure::RowsOff(rows) => format!("<b>{}</b> &lt; 1", fixed(rows, 2)),
        Measure::Nothing => "–".to_owned(),
    };
    // A failed comparison must not be written as if it were true.
    let measure = match check.verdict {
        Verdict::Fails => {
            measure.replace(" ≤ ", ", limit ").replace(" &lt; ", ", must be below ").replace(" = ", ", not ")
        }
        _ => measure,
    };
    format!(
        "<li class=\"{class}\"><span class=\"mark\">{mark}</span><span class=\"what\">{}</span>\
         <span class=\"measure\">{measure}</span></li>\n",
        escape(&check.what)
    )
}
