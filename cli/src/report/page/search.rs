//! What small models said before the large one was trained.

use std::fmt::Write;

use crate::prediction::{Law, PredictedLosses};
use crate::report::charts;
use crate::report::facts::{Compared, Facts};
use crate::report::markup::{
    escape, figure, fixed, legend, number, percent, roomy_number, scientific, short, short_hash, table, text,
};
use crate::sweep::{Results, edges};

pub(super) fn search(facts: &Facts) -> String {
    let mut html = match &facts.search {
        None => "<p class=\"missing\">No search was made in this folder (<code>moso sweep</code>).</p>\n".to_owned(),
        Some(results) => found(results),
    };
    html.push_str("<h3>Predicted loss</h3>\n");
    html.push_str(&match &facts.predicted {
        None => {
            "<p class=\"missing\">No loss was predicted in this folder (<code>moso predict</code>).</p>\n".to_owned()
        }
        Some(losses) => predicted(facts, losses),
    });
    html
}

/// The search: a chart for each output multiplier, with a line for each deviation.
fn found(results: &Results) -> String {
    let best = &results.best;
    let n_stopped = results.points.iter().filter(|point| point.loss.is_none()).count();
    let stopped = if n_stopped == 0 { String::new() } else { format!(" {n_stopped} of them stopped themselves.") };
    let mut html = format!(
        "<p>A model of {} parameters, width {}, was trained on the first {} tokens at {} points.{stopped} Least held-out loss: \
         learning rate <strong>{}</strong>, initial deviation <strong>{}</strong>, output multiplier <strong>{}</strong>. \
         Frozen with it: tokenizer {}, data mix {}.</p>\n",
        short(results.n_parameters as f64),
        results.width,
        short(results.tokens as f64),
        results.points.len(),
        scientific(best.lr),
        best.init_std,
        best.output_multiplier,
        short_hash(&results.frozen.tokenizer),
        short_hash(&results.frozen.mix),
    );
    let distinct = |value: fn(&planner::SearchPoint) -> f64| {
        let mut values: Vec<f64> = results.points.iter().map(|point| value(&point.at)).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        values
    };
    let stds = distinct(|point| point.init_std);
    let entry = |(position, std): (usize, &f64)| (charts::line_class(position), format!("initial deviation {std}"));
    html.push_str(&legend(&stds.iter().enumerate().map(entry).collect::<Vec<_>>()));
    for multiplier in distinct(|point| point.output_multiplier) {
        let ring = if multiplier == best.output_multiplier { " The ring marks the best point of all." } else { "" };
        let caption =
            format!("Held-out loss in nats over the learning rate's peak, output multiplier {multiplier}.{ring}");
        html.push_str(&figure(&charts::search(results, multiplier, &stds), &caption));
    }
    for edge in edges(results) {
        let _ = writeln!(html, "<p>Not at rest: {}.</p>", escape(&edge));
    }
    html
}

/// The laws, and what they say of the stages beside what these reached.
fn predicted(facts: &Facts, predicted: &PredictedLosses) -> String {
    let found = |step: u64, stage: &str| -> Option<&Compared> {
        facts.log.compared.iter().find(|compared| (compared.step, &compared.stage[..]) == (step, stage))
    };
    let row = |prediction: &planner::Prediction| {
        let band = &prediction.band;
        let compared = found(prediction.step, &prediction.stage).filter(|_| prediction.is_reached);
        let verdict =
            compared.map_or("–", |compared| if compared.is_inside { "inside" } else { "<strong>outside</strong>" });
        vec![
            escape(&prediction.stage),
            short(prediction.n_parameters as f64),
            short(prediction.tokens as f64),
            fixed(band.loss, 4),
            format!("{} to {}", fixed(band.low, 4), fixed(band.high, 4)),
            compared.map_or("–".to_owned(), |compared| fixed(compared.loss, 4)),
            verdict.to_owned(),
        ]
    };
    let columns = [
        text("Stage"),
        number("Parameters"),
        roomy_number("After tokens"),
        number("Predicted"),
        number("Band"),
        number("Found"),
        text("Verdict"),
    ];
    let rows: Vec<Vec<String>> = predicted.predictions.iter().map(row).collect();
    let caption = format!(
        "Held-out loss in nats that a model of the stage's size reaches on the run's rows and schedule if it never grew, with the \
         band that holds with probability {}, and what the run found.",
        percent(predicted.confidence)
    );
    let mut html = figure(&table(&columns, &rows), &caption);
    for missing in &predicted.missing {
        let _ = writeln!(html, "<p>{}.</p>", escape(missing));
    }
    for law in &predicted.laws {
        html.push_str(&law_figure(facts, predicted, law));
    }
    html
}

fn law_figure(facts: &Facts, predicted: &PredictedLosses, law: &Law) -> String {
    let here = || predicted.predictions.iter().filter(|prediction| prediction.step == law.step);
    let predicted: Vec<(f64, f64)> =
        here().map(|prediction| (prediction.n_parameters as f64, prediction.band.loss)).collect();
    let size_of = |compared: &&Compared| {
        let of_stage = here().find(|prediction| prediction.is_reached && prediction.stage == compared.stage)?;
        (compared.step == law.step).then_some((of_stage.n_parameters as f64, compared.loss))
    };
    let found: Vec<(f64, f64)> = facts.log.compared.iter().filter_map(|compared| size_of(&compared)).collect();
    let keys = legend(&[
        ("dot l0".to_owned(), "models it was fitted to".to_owned()),
        ("line mean".to_owned(), "the law, in its band; rings: predicted stages".to_owned()),
        ("dot l1".to_owned(), "found by the run".to_owned()),
    ]);
    let caption = format!(
        "Held-out loss over parameters after {} tokens: {} N<sup>{}</sup> + {}. The {} models lie {} nats from it (root mean square).",
        short(law.tokens as f64),
        short(law.a),
        fixed(law.b, 3).replace('-', "−"),
        fixed(law.c, 3),
        law.points.len(),
        fixed(law.scatter, 4),
    );
    figure(&format!("{keys}{}", charts::law(law, &predicted, &found)), &caption)
}
