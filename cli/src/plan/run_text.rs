//! A proposal as a run file: the settings of another run file with its stages and `[plan]` replaced. Remarks on what is replaced go with it.

use std::fmt::Write;

use anyhow::Context;
use planner::{Proposal, ProposedStage, Resources};

use super::table::significant;

/// How proposed stages grow: what won in the study of growth (docs/growth.md).
const GROWTH: &str = "growth = { depth = \"stack\", width = \"random\", moments = \"grown\", ramp = 0 }";

/// Sections of a template that are about its own models.
const OF_OTHER_MODELS: [&str; 2] = ["[sweep]", "[predict]"];

/// The run file, and which sections of the template it is without. `template` must have its stages together, in front of `[train]`.
pub(super) fn run_text(
    template: &str,
    proposal: &Proposal,
    resources: &Resources,
    hardware: Option<&str>,
) -> anyhow::Result<(String, Vec<&'static str>)> {
    let lines: Vec<&str> = template.lines().collect();
    let find = |begins: &str| {
        let position = lines.iter().position(|line| line.starts_with(begins));
        position.with_context(|| format!("the run file to take settings from has no {begins}"))
    };
    let (stages, train) = (find("[[stage]]")?, find("[train]")?);
    anyhow::ensure!(stages < train, "the run file to take settings from must have its stages in front of [train]");
    let mix = lines[stages..train].iter().find(|line| line.starts_with("mix = "));
    let mix = mix.context("the first stage of the run file to take settings from must have `mix = ` on one line")?;
    let first = lines.iter().position(|line| !is_remark(line)).unwrap_or(0);
    let Proposal { usd, days, loss, .. } = proposal;
    let usd = significant(*usd);
    let mut text = format!("# Written by `moso plan --budget`: ${usd}, {days:.2} days, predicted loss {loss:.3}.\n\n");
    push_lines(&mut text, &without_sections(&lines[first..stages]));
    for (index, stage) in proposal.stages.iter().enumerate() {
        write_stage(&mut text, stage, mix, index > 0);
    }
    let name = proposal.stages[proposal.stages.len() - 1].name.as_str();
    let title = format!("title = \"A model of {name} for ${usd}\"");
    let machine = resources.n_devices as f64;
    let cost = format!(
        "cost = {{ usd_per_hour = {:?}, watts = {:?} }}",
        machine * resources.usd_per_device_hour,
        machine * resources.device.watts
    );
    let rest = without_sections(&lines[train..]);
    let of_this_run = |line: &&str| match line {
        line if line.starts_with("title = ") => title.clone(),
        line if line.starts_with("cost = ") => cost.clone(),
        line => (*line).to_owned(),
    };
    push_lines(&mut text, &rest.iter().map(of_this_run).collect::<Vec<_>>());
    write_plan(&mut text, resources, hardware);
    let dropped = OF_OTHER_MODELS.into_iter().filter(|section| lines.iter().any(|line| line.starts_with(section)));
    Ok((text, dropped.collect()))
}

fn write_plan(text: &mut String, resources: &Resources, hardware: Option<&str>) {
    let Resources { device, n_devices, usd_per_device_hour, kg_co2e_per_kwh, power_usage_effectiveness, .. } =
        resources;
    let _ = writeln!(text, "[plan]\ngpu = \"{}\"", device.name);
    if let Some(hardware) = hardware {
        let _ = writeln!(text, "hardware = \"{hardware}\"");
    }
    let _ = writeln!(text, "gpus = {n_devices}\nusd_per_gpu_hour = {usd_per_device_hour:?}");
    if let Some(kg) = kg_co2e_per_kwh {
        let _ = writeln!(text, "kg_co2e_per_kwh = {kg:?}");
    }
    let _ = writeln!(text, "power_usage_effectiveness = {power_usage_effectiveness:?}");
}

fn push_lines<L: std::fmt::Display>(text: &mut String, lines: &[L]) {
    lines.iter().for_each(|line| {
        let _ = writeln!(text, "{line}");
    });
    text.push('\n');
}

fn is_remark(line: &str) -> bool {
    line.is_empty() || line.starts_with('#')
}

/// The lines but for the remarks at their end, which are about what follows.
fn without_remarks<'a, 'b>(lines: &'b [&'a str]) -> &'b [&'a str] {
    let n = lines.iter().rposition(|line| !is_remark(line)).map_or(0, |last| last + 1);
    &lines[..n]
}

/// The lines but for `[plan]` and what is about the models of the template, with what belongs to these sections.
fn without_sections<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let mut kept: Vec<&str> = Vec::new();
    let mut is_left_out = false;
    for line in lines {
        if line.starts_with('[') {
            is_left_out = ["[plan", "[sweep", "[predict"].iter().any(|section| line.starts_with(section));
            if is_left_out {
                kept.truncate(without_remarks(&kept).len());
            } else if kept.last().is_some_and(|last| !is_remark(last)) {
                kept.push("");
            }
        } else if is_left_out && line.starts_with('#') {
            is_left_out = false;
            kept.push("");
        }
        if !is_left_out {
            kept.push(line);
        }
    }
    kept.truncate(without_remarks(&kept).len());
    kept
}

fn write_stage(text: &mut String, stage: &ProposedStage, mix: &str, grows: bool) {
    let ProposedStage { name, shape, rows, layout, learning_rates: (peak, end), .. } = stage;
    let batch_tokens = rows * shape.context;
    let _ = write!(
        text,
        "[[stage]]\nname = \"{name}\"\ntokens = {}\n{mix}\n\
         shape = {{ layers = {}, hidden = {}, heads = {}, ffn = {} }}\n\
         batch = {{ rows = {rows}, micro_rows = {} }}\n\
         lr = {{ schedule = \"cosine\", peak = {peak:.4e}, end = {end:.4e}, warmup = {} }}\n\
         parallel = {{ tensor = {}, pipeline = {}, data = {} }}\n",
        stage.n_tokens(),
        shape.layers,
        shape.hidden,
        shape.heads,
        shape.ffn,
        layout.micro_rows,
        stage.warmup_steps * batch_tokens,
        layout.layout.tensor,
        layout.layout.pipeline,
        layout.layout.data,
    );
    if grows {
        let _ = writeln!(text, "{GROWTH}");
    }
    text.push('\n');
}
