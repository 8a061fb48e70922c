//! How good the model is, what it writes, and how to make it again.

use std::fmt::Write;

use crate::report::facts::{Facts, Sample, Task};
use crate::report::markup::{
    bytes, escape, figure, fixed, language, number, percent, roomy_number, scientific, short, short_hash, table, text,
    whole,
};

/// Below this, a share is written as a power of ten.
const TINY_SHARE: f64 = 5e-4;

pub(super) fn evaluation(facts: &Facts) -> String {
    let eval = &facts.eval;
    if eval.validations.is_empty() && eval.tasks.is_empty() {
        return "<p class=\"missing\">This run was not evaluated.</p>\n".to_owned();
    }
    let mut html = String::from("<p>The last checkpoint, read back from disk.</p>\n<h3>Held-out text</h3>\n");
    let rows: Vec<Vec<String>> = eval
        .validations
        .iter()
        .map(|row| {
            vec![
                escape(language(&row.lang)),
                fixed(row.loss, 3),
                fixed(row.bits_per_byte, 3),
                fixed(row.unigram_entropy, 3),
                fixed(row.unigram_entropy - row.loss, 3),
                short(row.n_targets as f64),
            ]
        })
        .collect();
    let columns = [
        text("Language"),
        number("Loss, nats"),
        number("Bits a byte"),
        number("Unigram entropy"),
        number("Better by"),
        number("Tokens"),
    ];
    let caption = "Unigram entropy is what a model reaches at best that knows nothing but how often each token occurs; \
                   bits a byte can be compared between tokenizers and languages, nats cannot.";
    html.push_str(&figure(&table(&columns, &rows), caption));
    if !eval.tasks.is_empty() {
        html.push_str("<h3>Tasks</h3>\n");
        html.push_str(&tasks(&eval.tasks));
    }
    html
}

fn tasks(tasks: &[Task]) -> String {
    let rows: Vec<Vec<String>> = tasks
        .iter()
        .map(|task| {
            vec![
                format!("<code>{}</code>", escape(&task.name)),
                format!("{} ± {}", percent(task.accuracy), percent(task.stderr)),
                chance(task.chance),
                whole(task.n_items),
                task.n_shots.to_string(),
                whole(task.n_cut),
            ]
        })
        .collect();
    // Two standard errors: what a lucky draw of questions explains.
    let beats = |task: &&Task| task.accuracy - 2.0 * task.stderr > task.chance;
    let caption = match (tasks.iter().filter(beats).count(), tasks.len()) {
        (0, _) => "The model solves none of these tasks better than chance.".to_owned(),
        (n, all) if n == all => "Every task is solved better than chance.".to_owned(),
        (n, all) => format!("{n} of {all} tasks are solved better than chance."),
    };
    let columns = [
        text("Task"),
        number("Exact answers"),
        number("Chance"),
        number("Questions"),
        roomy_number("Examples shown"),
        roomy_number("Prompts cut"),
    ];
    figure(&table(&columns, &rows), &caption)
}

fn chance(share: f64) -> String {
    if share.is_finite() && share > 0.0 && share < TINY_SHARE { scientific(share) } else { percent(share) }
}

pub(super) fn samples(facts: &Facts) -> String {
    if facts.eval.samples.is_empty() {
        return "<p class=\"missing\">No samples were drawn.</p>\n".to_owned();
    }
    let n_parameters = facts.plan.stages.last().map_or(0, |stage| stage.shape.n_parameters());
    let mut html = format!(
        "<p>{} The bold beginning was given; the rest is the model's.</p>\n",
        honest(n_parameters, facts.plan.n_tokens())
    );
    for Sample { prompt, text } in &facts.eval.samples {
        let lang = if prompt.chars().any(is_han) { "zh" } else { "en" };
        let (prompt, text) = (escape(prompt), escape(text));
        let _ = writeln!(html, "<blockquote class=\"sample\" lang=\"{lang}\"><b>{prompt}</b>{text}</blockquote>");
    }
    html
}

/// What may be expected; a billion parameters and ten billion tokens are about where text begins to make sense for long.
fn honest(n_parameters: u64, n_tokens: u64) -> String {
    let size = format!("{} parameters and {} tokens", short(n_parameters as f64), short(n_tokens as f64));
    if n_parameters < 1_000_000_000 || n_tokens < 10_000_000_000 {
        format!(
            "With {size} a model only babbles: it has picked up words, the look of each language and some grammar, but \
             no facts and no thread. Nothing below is true or means anything."
        )
    } else {
        format!("Text by a model of {size}, as it came, not chosen. What it says may well be wrong.")
    }
}

fn is_han(char: char) -> bool {
    ('\u{3400}'..='\u{9fff}').contains(&char)
}

pub(super) fn again(facts: &Facts) -> String {
    let mut html = format!(
        "<p>All results are a function of the run file, the sources and the seed <code>{}</code>; the resolved run file \
         has the hash {}. The same command gives the same folders, and goes on where it was interrupted.</p>\n\
         <pre><code>",
        facts.seed,
        short_hash(&facts.run_hash),
    );
    let run = format!("moso run {}.toml --out OUT", facts.name);
    let width = run.chars().count();
    for (command, what) in [
        (&run[..], "everything again"),
        ("moso verify OUT", "re-hash every file"),
        ("moso trace OUT --step 1", "the documents that a step saw"),
    ] {
        let _ = writeln!(html, "{}  <i># {what}</i>", escape(&format!("{command:width$}")));
    }
    html.push_str("</code></pre>\n");
    let rows: Vec<Vec<String>> = facts
        .folders
        .iter()
        .map(|folder| {
            vec![
                format!("<code>{}</code>", escape(&folder.name)),
                short_hash(&folder.hash),
                short_hash(&folder.config_hash),
                whole(folder.n_files),
                bytes(folder.n_bytes),
            ]
        })
        .collect();
    let columns = [text("Folder"), text("Manifest"), text("Settings"), number("Files"), number("Size")];
    let caption = "This page was made from these folders; a manifest holds the BLAKE3 hashes of its folder's files and \
                   those of the manifests it was made from.";
    html.push_str(&figure(&table(&columns, &rows), caption));
    html
}
