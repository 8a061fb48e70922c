//! How the loss fell, how the model grew, and what it cost.

use std::fmt::Write;

use crate::report::charts::{self, language_class};
use crate::report::facts::{Facts, Growth, Log, Rollback, Skip, Time};
use crate::report::markup::{
    bar, duration, energy, escape, figure, fixed, flops, language, legend, money, number, percent, roomy_number,
    scientific, short, table, text, whole,
};

pub(super) fn training(facts: &Facts) -> String {
    let steps = &facts.log.steps;
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
        return "<p class=\"missing\">No step was logged.</p>\n".to_owned();
    };
    let resumed = match facts.log.n_resumes {
        0 => "without interruption".to_owned(),
        1 => "interrupted and resumed once".to_owned(),
        n => format!("interrupted and resumed {n} times"),
    };
    let mut html = format!(
        "<p>{} steps over {} tokens, {resumed}. Stages are shaded in turn; a vertical line marks each growth.</p>\n",
        whole(steps.len() as u64),
        short(last.tokens as f64),
    );
    let caption = format!(
        "The loss of a step falls from {} to {} nats; {}.",
        fixed(first.loss, 2),
        fixed(mean_of_last(facts), 2),
        growth_in_words(facts)
    );
    html.push_str(&figure(&format!("{}{}", loss_legend(facts), charts::loss(facts)), &caption));
    html.push_str(&spikes(facts));
    html.push_str("<h3>Speed</h3>\n");
    html.push_str(&speed(facts));
    html.push_str("<h3>Learning rate and mask</h3>\n");
    html.push_str(&schedule(facts));
    html
}

/// Steps that were passed over and where the run went back, each with what was wrong; nothing where all went well.
fn spikes(facts: &Facts) -> String {
    let Log { skips, rollbacks, .. } = &facts.log;
    if skips.is_empty() && rollbacks.is_empty() {
        return String::new();
    }
    let went_back = rollbacks.iter().map(|Rollback { step, why, skipped: (first, last), n_documents }| {
        let what = format!("back to step {step}, to pass over {first} to {last}");
        vec![whole(*last), what, escape(why), whole(*n_documents)]
    });
    let passed_over = skips.iter().map(|Skip { step, why, n_documents, .. }| {
        vec![whole(*step), "passed over".to_owned(), escape(why), whole(*n_documents)]
    });
    let rows: Vec<Vec<String>> = went_back.chain(passed_over).collect();
    let columns = [number("Step"), text("What"), text("Why"), number("Documents")];
    let caption = format!(
        "{} passed over, the run went back {}; <code>moso trace --step N</code> names the documents.",
        counted(skips.len(), "step was", "steps were"),
        counted(rollbacks.len(), "time", "times"),
    );
    format!("<h3>Spikes</h3>\n{}", figure(&table(&columns, &rows), &caption))
}

fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Single steps jump about with the text they happen to read; the last twentieth of a run says where it stands.
fn mean_of_last(facts: &Facts) -> f64 {
    let steps = &facts.log.steps;
    let last = &steps[steps.len() - steps.len().div_ceil(20)..];
    last.iter().map(|step| step.loss).sum::<f64>() / last.len() as f64
}

fn growth_in_words(facts: &Facts) -> String {
    let jump = facts.log.growths.iter().map(Growth::loss_jump).fold(0.0, f64::max);
    match facts.log.growths.len() {
        0 => "the model keeps its size".to_owned(),
        _ => format!(
            "growing itself moves it by no more than {} nats on a fixed batch, so what the curve does after a line is \
             training with masks that open and a learning rate that warms up again",
            scientific(jump)
        ),
    }
}

fn loss_legend(facts: &Facts) -> String {
    let mut entries = vec![
        ("line step".to_owned(), "loss of a step, nats".to_owned()),
        ("line mean".to_owned(), "its running mean".to_owned()),
    ];
    for (position, lang) in facts.langs().iter().enumerate() {
        let (class, name) = (language_class(position), language(lang));
        entries.push((format!("dot {class}"), format!("validation, {name}")));
        entries.push((format!("dash {class}"), format!("unigram entropy, {name}")));
    }
    entries.push(("line growth".to_owned(), "growth".to_owned()));
    legend(&entries)
}

fn speed(facts: &Facts) -> String {
    let mut rows = String::from("<div class=\"stage-bars\">\n");
    let mut sum = Time::default();
    for stage in &facts.plan.stages {
        let time = facts.time(stage);
        let total = time.total();
        let parts: Vec<(String, f64)> =
            time.parts.iter().enumerate().map(|(part, s)| (format!("t{part}"), s / total.max(1e-12))).collect();
        sum.parts.iter_mut().zip(time.parts).for_each(|(sum, part)| *sum += part);
        let label = format!("Where the time of stage {} went", stage.name);
        let _ = writeln!(rows, "<div><span>{}</span>{}</div>", escape(&stage.name), bar(&parts, &label));
    }
    rows.push_str("</div>\n");
    let total = sum.total().max(1e-12);
    let entry = |(part, name): (usize, &&str)| {
        (sum.parts[part] > 0.0).then(|| (format!("t{part}"), format!("{name} {}", percent(sum.parts[part] / total))))
    };
    let entries: Vec<(String, String)> = Time::NAMES.iter().enumerate().filter_map(entry).collect();
    let speeds: Vec<String> = facts
        .plan
        .stages
        .iter()
        .map(|stage| (stage, facts.time(stage).total()))
        .filter(|(_, seconds)| *seconds > 0.0)
        .map(|(stage, seconds)| format!("{} in {}", short(stage.n_tokens() as f64 / seconds), escape(&stage.name)))
        .collect();
    let caption = format!("Tokens a second, on average {}: a larger model takes longer over each.", speeds.join(", "));
    let keys = legend(&[
        ("line step".to_owned(), "tokens a second".to_owned()),
        ("line mean".to_owned(), "running mean".to_owned()),
    ]);
    let chart = figure(&format!("{keys}{}", charts::speed(facts)), &caption);
    let caption = "Where the time of each stage went; <em>other</em> is the rest of a step, such as threads \
                   that wait for each other.";
    chart + &figure(&format!("{}{rows}", legend(&entries)), caption)
}

fn schedule(facts: &Facts) -> String {
    let highest = facts.log.steps.iter().map(|step| step.lr).fold(0.0, f64::max);
    let grows = facts.plan.stages.iter().filter(|stage| stage.n_ramp_steps > 0).count();
    let masks = match grows {
        0 => "no masks, since the model does not grow".to_owned(),
        _ => "the mask of new coordinates rises from 0 after each growth, and is 1 otherwise".to_owned(),
    };
    let caption = format!(
        "The learning rate, as a share of its highest value {}, warms up and decays in every stage; {masks}.",
        scientific(highest)
    );
    let keys = legend(&[
        ("line mean".to_owned(), "learning rate".to_owned()),
        ("line growth".to_owned(), "mask of new coordinates".to_owned()),
    ]);
    figure(&format!("{keys}{}", charts::schedule(facts)), &caption)
}

pub(super) fn growth(facts: &Facts) -> String {
    let shapes: Vec<Vec<String>> = facts
        .plan
        .stages
        .iter()
        .map(|stage| {
            let shape = &stage.shape;
            let mut cells = vec![escape(&stage.name), short(shape.n_parameters() as f64)];
            cells.extend([shape.layers, shape.hidden, shape.heads, shape.ffn].map(whole));
            cells
        })
        .collect();
    let columns =
        [text("Stage"), number("Parameters"), number("Layers"), number("Hidden"), number("Heads"), number("FFN")];
    let caption = match (facts.plan.stages.first(), facts.plan.stages.last()) {
        (Some(first), Some(last)) if first.shape != last.shape => {
            let times = last.shape.n_parameters() as f64 / first.shape.n_parameters() as f64;
            format!("The last model has {} times the parameters of the first.", short(times))
        }
        _ => "The model has the same shape throughout.".to_owned(),
    };
    figure(&table(&columns, &shapes), &caption) + &growth_steps(facts)
}

fn growth_steps(facts: &Facts) -> String {
    let growths = &facts.log.growths;
    let Some(first) = growths.first() else {
        return "<p class=\"missing\">No growth took place in this run.</p>\n".to_owned();
    };
    let row = |growth: &Growth| {
        vec![
            format!("{} → {}", escape(&growth.stage_from), escape(&growth.stage_to)),
            format!("{} → {}", short(growth.parameters.0 as f64), short(growth.parameters.1 as f64)),
            scientific(growth.max_logit_diff),
            fixed(growth.loss_before, 5),
            fixed(growth.loss_after, 5),
            duration(growth.seconds),
        ]
    };
    let rows: Vec<Vec<String>> = growths.iter().map(row).collect();
    let columns = [
        text("Growth"),
        roomy_number("Parameters"),
        number("Max |Δ logit|"),
        number("Loss before"),
        number("Loss after"),
        roomy_number("Took"),
    ];
    let caption = format!(
        "The {} operator: on a fixed batch, the model that has just grown is held against the one it grew from; only \
         then do the masks of the new coordinates open.",
        escape(&first.operator)
    );
    figure(&table(&columns, &rows), &caption)
}

pub(super) fn cost(facts: &Facts) -> String {
    let (grown, scratch) = (facts.plan.flops(), facts.plan.from_scratch_flops());
    let mut html = format!(
        "<p>Training took <strong>{}</strong>; the last model, trained from scratch on the same tokens, would take {}: \
         <strong>{}</strong> of that was enough. Money and energy are the time at {} an hour and {} W.</p>\n",
        flops(grown),
        flops(scratch),
        percent(grown / scratch),
        money(facts.cost.usd_per_hour),
        facts.cost.watts,
    );
    let cells = |name: String, n_tokens: u64, n_flops: f64, seconds: f64| {
        vec![
            name,
            short(n_tokens as f64),
            flops(n_flops),
            duration(seconds),
            fixed(n_flops / seconds / 1e9, 1),
            money(facts.cost.usd(seconds)),
            energy(facts.cost.kwh(seconds)),
        ]
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    for stage in &facts.plan.stages {
        let grew = facts.log.growths.iter().filter(|growth| growth.stage_to == stage.name);
        let seconds = facts.time(stage).total() + grew.map(|growth| growth.seconds).sum::<f64>();
        rows.push(cells(escape(&stage.name), stage.n_tokens(), stage.flops(), seconds));
    }
    rows.push(cells("All".to_owned(), facts.plan.n_tokens(), grown, facts.seconds()));
    let columns = [
        text("Stage"),
        roomy_number("Tokens"),
        number("Compute"),
        number("Time"),
        roomy_number("GFLOP/s"),
        number("Money"),
        number("Energy"),
    ];
    let caption = "Time is that of steps, checkpoints and growth; reading the corpus and measuring the loss on held-out \
                   rows are not in it.";
    html.push_str(&figure(&format!("<div class=\"total\">{}</div>", table(&columns, &rows)), caption));
    html
}
