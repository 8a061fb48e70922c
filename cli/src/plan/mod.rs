//! `moso plan`: what a run takes before it starts, and which runs a budget buys. The arithmetic is `planner`'s; this is what it reads and prints.

mod measured;
mod run_text;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use corpus::write_atomically;
use planner::{
    CHINCHILLA, Forecast, Hardware, Layout, Machine, Proposal, Question, Resources, RunPlan, Speed, StageSpeed,
    forecast, layouts, operations, propose, tensors,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::PlanArguments;
use crate::failure::Failure;
use crate::run_file::Run;

/// The run whose text and optimizer proposals take where no other is named.
const FLM_101B: &str = include_str!("../../../configs/flm-101b.toml");

/// What is proposed for where nothing else is named: the paper's.
const BUDGET_GPU: &str = "A800";

/// `[plan]`: what a run is computed with and what that costs. Changes no result.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanSection {
    /// A device of the table.
    gpu: String,
    /// How many.
    gpus: u64,
    /// Money for an hour of one.
    usd_per_gpu_hour: f64,
    /// Carbon intensity of the electricity.
    kg_co2e_per_kwh: Option<f64>,
    /// Energy of the whole site for each kWh of its devices.
    #[serde(default = "nothing_besides")]
    power_usage_effectiveness: f64,
    /// What is known of single stages.
    #[serde(default)]
    stage: BTreeMap<String, StageSection>,
}

/// What is known of the speed of a stage.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageSection {
    /// TFLOP/s of one device while it computes, FLOPs by the formula with k = 72.
    tflops: Option<f64>,
    /// Share of the wall clock that computes.
    availability: Option<f64>,
}

fn nothing_besides() -> f64 {
    1.0
}

/// What the command line says besides the run file.
#[derive(Default)]
struct Changes<'a> {
    gpu: Option<&'a str>,
    gpus: Option<u64>,
    gpu_hour: Option<f64>,
}

/// The command.
pub(crate) fn plan(arguments: &PlanArguments) -> Result<(), Failure> {
    let hardware = read_hardware(arguments.hardware.as_deref())?;
    match arguments.budget {
        Some(budget_usd) => plan_budget(arguments, &hardware, budget_usd),
        None => plan_run(arguments, &hardware),
    }
}

fn read_hardware(path: Option<&Path>) -> Result<Hardware, Failure> {
    let Some(path) = path else { return Ok(Hardware::built_in()) };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the hardware file {}", path.display()));
    let hardware = Hardware::built_in().extended(&text.map_err(Failure::run_file)?);
    hardware.with_context(|| path.display().to_string()).map_err(Failure::run_file)
}

fn plan_run(arguments: &PlanArguments, hardware: &Hardware) -> Result<(), Failure> {
    let path = arguments.run.as_deref().expect("clap asks for it where there is no budget");
    let run = Run::read(path)?;
    let PlanArguments { gpu, gpus, gpu_hour, .. } = arguments;
    let changes = Changes { gpu: gpu.as_deref(), gpus: *gpus, gpu_hour: *gpu_hour };
    let found = resources(&run, hardware, &changes).and_then(|mut resources| {
        if let Some(out) = &arguments.measured {
            resources.speeds = measured::speeds(&run.plan, out, resources.n_devices)?;
        }
        let is_other_number = resources.n_devices != run.layouts[0].n_devices();
        let (plan, layouts) =
            if is_other_number { fastest(&run, &resources)? } else { (run.plan.clone(), run.layouts.clone()) };
        Ok(forecast(&plan, &layouts, &resources)?)
    });
    let found = found.with_context(|| path.display().to_string()).map_err(Failure::run_file)?;
    if arguments.json {
        say!("{}", forecast_json(&found));
        return Ok(());
    }
    let title = format!("run {} on {} x {}", run.name, found.gpus, found.gpu);
    say!("{}", table::forecast(&title, &found, arguments.tensors).trim_end());
    Ok(())
}

/// The forecast that the report draws: what the run file says, as fast as its log says.
pub(crate) fn for_report(run: &Run, out: &Path) -> anyhow::Result<Forecast> {
    let mut resources = resources(run, &Hardware::built_in(), &Changes::default())?;
    if run.plan_section.is_none() {
        resources.speeds = measured::speeds(&run.plan, out, resources.n_devices)?;
    }
    Ok(forecast(&run.plan, &run.layouts, &resources)?)
}

/// What the run file says it is computed with, and where it says nothing, a processor that costs what `[report]` says.
fn resources(run: &Run, hardware: &Hardware, changes: &Changes<'_>) -> anyhow::Result<Resources> {
    let section = run.plan_section.as_ref();
    let n_laid_out = run.layouts[0].n_devices();
    let name = match (changes.gpu, section) {
        (Some(name), _) => name,
        (None, Some(section)) => &section.gpu[..],
        (None, None) if n_laid_out == 1 => "cpu",
        (None, None) => anyhow::bail!(
            "the stages are laid out over {n_laid_out} devices, and nothing says which: add [plan] with gpu, gpus and \
             usd_per_gpu_hour, or --gpu"
        ),
    };
    let mut device = hardware.find(name)?.clone();
    let n_devices = changes.gpus.or(section.map(|section| section.gpus)).unwrap_or(n_laid_out);
    let cost = run.report.cost;
    if section.is_none() && changes.gpu.is_none() {
        device.watts = cost.watts / n_devices as f64;
    }
    let of_report = cost.usd_per_hour / n_laid_out as f64;
    // A stated speed is that of the device it was measured on.
    let is_same = section.is_some_and(|section| section.gpu.eq_ignore_ascii_case(name) && section.gpus == n_devices);
    let speed = |stage: &StageSection| StageSpeed {
        speed: stage.tflops.filter(|_| is_same).map(|tflops| Speed::Formula(tflops * 1e12)),
        availability: stage.availability,
    };
    let stages = section.into_iter().flat_map(|section| &section.stage);
    Ok(Resources {
        device,
        n_devices,
        precision: run.precision,
        recompute: run.recompute,
        usd_per_device_hour: changes.gpu_hour.or(section.map(|s| s.usd_per_gpu_hour)).unwrap_or(of_report),
        kg_co2e_per_kwh: section.and_then(|section| section.kg_co2e_per_kwh),
        power_usage_effectiveness: section.map_or(1.0, |section| section.power_usage_effectiveness),
        speeds: stages.map(|(name, stage)| (name.clone(), speed(stage))).collect(),
    })
}

/// The run with every stage in its fastest layout on another number of devices.
fn fastest(run: &Run, resources: &Resources) -> anyhow::Result<(RunPlan, Vec<Layout>)> {
    let mut plan = run.plan.clone();
    let Resources { device, n_devices, precision, recompute, .. } = resources;
    let machine = Machine { device, n_devices: *n_devices, precision: *precision, recompute: *recompute };
    let mut found = Vec::new();
    for stage in &mut plan.stages {
        let best = layouts(&stage.name, &stage.shape, stage.batch.rows, &machine)?[0];
        stage.batch.micro_rows = best.micro_rows;
        found.push(best.layout);
    }
    Ok((plan, found))
}

/// The forecast as JSON, every stage with its tensors and matrix products.
fn forecast_json(found: &Forecast) -> serde_json::Value {
    let mut json = json!(found);
    for (stage, of_stage) in found.stages.iter().zip(json["stages"].as_array_mut().into_iter().flatten()) {
        of_stage["tensors"] = json!(tensors(&stage.shape));
        of_stage["operations"] = json!(operations(&stage.shape));
    }
    json
}

fn plan_budget(arguments: &PlanArguments, hardware: &Hardware, budget_usd: f64) -> Result<(), Failure> {
    let template = match &arguments.run {
        Some(path) => fs::read_to_string(path)
            .with_context(|| format!("cannot read the run file {}", path.display()))
            .map_err(Failure::run_file)?,
        None => FLM_101B.to_owned(),
    };
    let path = arguments.run.as_deref().unwrap_or(Path::new("configs/flm-101b.toml"));
    let run = Run::parse(&template, path)?;
    let name = arguments.gpu.as_deref().unwrap_or(BUDGET_GPU);
    let device = hardware.find(name).map_err(Failure::run_file)?.clone();
    let resources = Resources {
        n_devices: arguments.gpus.unwrap_or(device.node.devices),
        device,
        precision: run.precision,
        recompute: run.recompute,
        usd_per_device_hour: arguments.gpu_hour.ok_or_else(no_price).map_err(Failure::run_file)?,
        kg_co2e_per_kwh: None,
        power_usage_effectiveness: 1.0,
        speeds: BTreeMap::new(),
    };
    let (first, last) = (&run.plan.stages[0], &run.plan.stages[run.plan.stages.len() - 1]);
    let question = Question {
        budget_usd,
        n_tokens: arguments.tokens.expect("clap asks for it beside a budget"),
        vocabulary: first.shape.vocabulary,
        context: first.shape.context,
        learning_rates: (first.learning_rate.rate.peak(), last.learning_rate.rate.end()),
        resources: &resources,
        law: CHINCHILLA,
    };
    let proposals = propose(&question).map_err(Failure::run_file)?;
    if let Some(out) = &arguments.out {
        write_run(out, &template, &proposals[0], &resources)?;
    }
    if arguments.json {
        say!("{}", json!({ "proposals": proposals, "loss_law": CHINCHILLA }));
        return Ok(());
    }
    say!("{}", table::proposals(&question, &proposals).trim_end());
    if let Some(out) = &arguments.out {
        say!("\n1 is written to {}: `moso plan {0}`; put your own sources there", out.display());
    }
    Ok(())
}

fn no_price() -> anyhow::Error {
    anyhow!("--budget needs the price of an hour: --gpu-hour USD")
}

fn write_run(out: &Path, template: &str, proposal: &Proposal, resources: &Resources) -> Result<(), Failure> {
    let text = run_text::run_text(template, proposal, resources).map_err(Failure::run_file)?;
    // What cannot be read back must not be written.
    Run::parse(&text, out)?;
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = out.file_name().and_then(|name| name.to_str()).unwrap_or("run.toml");
    write_atomically(folder, name, text.as_bytes(), 1)?;
    Ok(())
}
