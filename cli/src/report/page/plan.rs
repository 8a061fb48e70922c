//! What the planner makes of the run: its stages in time, money over tokens, memory by what it is for.

use std::fmt::Write;

use planner::{Forecast, Memory, SpeedSource};

use crate::report::charts;
use crate::report::facts::Facts;
use crate::report::markup::{
    bar, duration, escape, figure, fixed, legend, money, number, percent, roomy_number, table, text,
};

const SECONDS_A_DAY: f64 = 86_400.0;

pub(super) fn plan(facts: &Facts) -> String {
    let forecast = match &facts.forecast {
        Ok(forecast) => forecast,
        Err(why) => return format!("<p class=\"missing\">The run cannot be planned: {}.</p>\n", escape(why)),
    };
    let is_stated = forecast.stages.iter().all(|stage| stage.speed == SpeedSource::Stated);
    let speeds = if is_stated { "at the speeds of the run file" } else { "at the speeds of the table of hardware" };
    let html = format!(
        "<p>Planned before it ran: on {} × {}, {speeds}, the run takes <strong>{}</strong> and {}; its last model from scratch on as many tokens would take {} \
         and {}. Growing saves <strong>{}</strong>.</p>\n",
        forecast.gpus,
        escape(&forecast.gpu),
        duration(forecast.total.days * SECONDS_A_DAY),
        money(forecast.total.usd),
        duration(forecast.from_scratch.days * SECONDS_A_DAY),
        money(forecast.from_scratch.usd),
        percent(forecast.saving),
    );
    html + &stages(facts, forecast) + &timeline(forecast) + &spending(facts) + &memory(forecast)
}

fn stages(facts: &Facts, forecast: &Forecast) -> String {
    let row = |(planned, stage): (&planner::StageForecast, &planner::StagePlan)| {
        let grew = facts.log.growths.iter().filter(|growth| growth.stage_to == stage.name);
        let took = facts.time(stage).total() + grew.map(|growth| growth.seconds).sum::<f64>();
        vec![
            escape(&planned.name),
            duration(planned.amounts.days * SECONDS_A_DAY),
            duration(took),
            money(planned.amounts.usd),
            duration(planned.from_scratch.days * SECONDS_A_DAY),
            fixed(planned.amounts.memory_gib_per_gpu, 2),
        ]
    };
    let rows: Vec<Vec<String>> = forecast.stages.iter().zip(&facts.plan.stages).map(row).collect();
    let columns = [
        text("Stage"),
        roomy_number("Planned"),
        number("Took"),
        number("Planned money"),
        roomy_number("From scratch"),
        number("GiB"),
    ];
    figure(
        &table(&columns, &rows),
        "What was planned for each stage before it ran, what it took, and what its tokens would take in the last model by the same plan.",
    )
}

/// Both ways from the same start, to one scale.
fn timeline(forecast: &Forecast) -> String {
    let longest = forecast.total.days.max(forecast.from_scratch.days).max(f64::MIN_POSITIVE);
    let parts = |days: fn(&planner::StageForecast) -> f64| -> Vec<(String, f64)> {
        let part = |(index, stage): (usize, &planner::StageForecast)| (class(index), days(stage) / longest);
        forecast.stages.iter().enumerate().map(part).collect()
    };
    let rows =
        [("growing", parts(|stage| stage.amounts.days)), ("from scratch", parts(|stage| stage.from_scratch.days))];
    let names = forecast.stages.iter().enumerate();
    let entries: Vec<(String, String)> = names.map(|(index, stage)| (class(index), stage.name.clone())).collect();
    let caption = "Time from left to right; below, the same tokens in the last model.";
    figure(&format!("{}{}", legend(&entries), bars(&rows, "Time of the stages")), caption)
}

fn spending(facts: &Facts) -> String {
    let keys = legend(&[
        ("line mean".to_owned(), "planned".to_owned()),
        ("line growth".to_owned(), "planned, the last model from scratch".to_owned()),
        ("line step".to_owned(), "spent".to_owned()),
    ]);
    figure(&format!("{keys}{}", charts::spending(facts)), "Money over tokens: a larger model makes each token dearer.")
}

fn memory(forecast: &Forecast) -> String {
    let largest = forecast.stages.iter().map(|stage| stage.memory.total()).fold(f64::MIN_POSITIVE, f64::max);
    let parts = |memory: &Memory| -> Vec<(String, f64)> {
        memory.parts().iter().enumerate().map(|(index, bytes)| (class(index), bytes / largest)).collect()
    };
    let rows: Vec<(&str, Vec<(String, f64)>)> =
        forecast.stages.iter().map(|stage| (&stage.name[..], parts(&stage.memory))).collect();
    let is_there = |index: usize| forecast.stages.iter().any(|stage| stage.memory.parts()[index] > 0.0);
    let names = Memory::NAMES.iter().enumerate().filter(|(index, _)| is_there(*index));
    let entries: Vec<(String, String)> = names.map(|(index, name)| (class(index), (*name).to_owned())).collect();
    let caption = format!(
        "Memory of one device by what it is for, as planned; the widest bar is {} GiB.",
        fixed(largest / planner::GIB, 2)
    );
    figure(&format!("{}{}", legend(&entries), bars(&rows, "Memory of a stage")), &caption)
}

/// The colour of the part with that number.
fn class(index: usize) -> String {
    format!("t{}", index % Memory::NAMES.len())
}

fn bars(rows: &[(&str, Vec<(String, f64)>)], label: &str) -> String {
    let mut html = String::from("<div class=\"stage-bars\">\n");
    for (name, parts) in rows {
        let label = format!("{label}: {name}");
        let _ = writeln!(html, "<div><span>{}</span>{}</div>", escape(name), bar(parts, &label));
    }
    html.push_str("</div>\n");
    html
}
