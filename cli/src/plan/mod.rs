//! `moso plan`: what a run takes before it starts, and which runs a budget buys. The arithmetic is `planner`'s; this is what it reads and prints.

mod measured;
mod places;
mod run_text;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use corpus::write_atomically;
use planner::{
    CHINCHILLA, Device, Forecast, Hardware, Proposal, Question, Resources, Speed, StageSpeed, fastest_layouts,
    forecast, operations, propose, tensors,
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
    /// A file with more devices, relative to the run file.
    #[serde(skip_serializing_if = "Option::is_none")]
    hardware: Option<PathBuf>,
    /// The table, with those of the file.
    #[serde(skip, default = "Hardware::built_in")]
    known: Hardware,
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

/// Resources, and where their price is from.
struct Known {
    resources: Resources,
    price_from: &'static str,
}

/// Reads the devices that `[plan]` names, and checks its numbers.
pub(crate) fn checked(mut run: Run, folder: &Path) -> anyhow::Result<Run> {
    if let Some(section) = &mut run.plan_section {
        if let Some(file) = &section.hardware {
            section.known = extended(Hardware::built_in(), &folder.join(file)).context("[plan] hardware")?;
        }
        let known = resources(&run, &hardware(&run), &Changes::default()).context("[plan]")?;
        known.resources.check(&run.plan)?;
    }
    Ok(run)
}

/// The table with the devices of the run's own file.
fn hardware(run: &Run) -> Hardware {
    run.plan_section.as_ref().map_or_else(Hardware::built_in, |section| section.known.clone())
}

fn extended(hardware: Hardware, path: &Path) -> anyhow::Result<Hardware> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the hardware file {}", path.display()))?;
    hardware.extended(&text).with_context(|| path.display().to_string())
}

/// The command.
pub(crate) fn plan(arguments: &PlanArguments) -> Result<(), Failure> {
    match arguments.budget {
        Some(budget_usd) => plan_budget(arguments, budget_usd),
        None => plan_run(arguments),
    }
}

fn plan_run(arguments: &PlanArguments) -> Result<(), Failure> {
    let path = arguments.run.as_deref().expect("clap asks for it where there is no budget");
    let run = Run::read(path)?;
    let found = forecast_run(&run, arguments).with_context(|| path.display().to_string());
    let (found, price_from) = found.map_err(Failure::run_file)?;
    if arguments.json {
        let mut json = forecast_json(&found);
        json["price_from"] = json!(price_from);
        say!("{json}");
        return Ok(());
    }
    let title = format!("run {} on {} x {}", run.name, found.gpus, found.gpu);
    say!("{}", table::forecast(&title, &found, price_from, arguments.tensors).trim_end());
    Ok(())
}

fn forecast_run(run: &Run, arguments: &PlanArguments) -> anyhow::Result<(Forecast, &'static str)> {
    let PlanArguments { gpu, gpus, gpu_hour, .. } = arguments;
    let changes = Changes { gpu: gpu.as_deref(), gpus: *gpus, gpu_hour: *gpu_hour };
    let mut table = hardware(run);
    if let Some(file) = &arguments.hardware {
        table = extended(table, file)?;
    }
    let Known { mut resources, price_from } = resources(run, &table, &changes)?;
    if let Some(out) = &arguments.measured {
        check_measured(run, &resources, &changes)?;
        resources.speeds = measured::speeds(&run.plan, out, resources.n_devices)?;
    }
    resources.check(&run.plan)?;
    let (plan, layouts) = if resources.n_devices == run.layouts[0].n_devices() {
        (run.plan.clone(), run.layouts.clone())
    } else {
        fastest_layouts(&run.plan, &resources)?
    };
    Ok((forecast(&plan, &layouts, &resources)?, price_from))
}

/// What was measured is the speed of the machine that the run file describes. Only where it describes none, `--gpu` may say which it was.
fn check_measured(run: &Run, resources: &Resources, changes: &Changes<'_>) -> anyhow::Result<()> {
    let n_laid_out = run.layouts[0].n_devices();
    anyhow::ensure!(
        resources.n_devices == n_laid_out,
        "--measured has the speed of {n_laid_out} devices, as the stages are laid out, and not of {}: leave out --gpus",
        resources.n_devices
    );
    match (&run.plan_section, changes.gpu) {
        (Some(section), Some(_)) if !section.gpu.eq_ignore_ascii_case(&resources.device.name) => anyhow::bail!(
            "--measured has the speed of {}, the device of [plan], and not of {}: leave out --gpu",
            section.gpu,
            resources.device.name
        ),
        _ => Ok(()),
    }
}

/// The forecast that the report draws: made of the run file alone, as it was before anything was trained.
pub(crate) fn for_report(run: &Run) -> anyhow::Result<Forecast> {
    let known = resources(run, &hardware(run), &Changes::default())?;
    Ok(forecast(&run.plan, &run.layouts, &known.resources)?)
}

/// What the run file says it is computed with, and where it says nothing, a processor that costs what `[report]` says.
fn resources(run: &Run, hardware: &Hardware, changes: &Changes<'_>) -> anyhow::Result<Known> {
    let section = run.plan_section.as_ref();
    let n_laid_out = run.layouts[0].n_devices();
    let mut device = device(run, hardware, changes)?;
    let n_devices = changes.gpus.or(section.map(|section| section.gpus)).unwrap_or(n_laid_out);
    let (usd_per_device_hour, price_from) = price(run, &device, changes)?;
    if section.is_none() && changes.gpu.is_none() {
        device.watts = run.report.cost.watts / n_devices.max(1) as f64;
    }
    // What is stated of a stage is stated of that machine.
    let is_same =
        section.is_some_and(|section| section.gpu.eq_ignore_ascii_case(&device.name) && section.gpus == n_devices);
    let speed = |stage: &StageSection| StageSpeed {
        speed: stage.tflops.map(|tflops| Speed::Formula(tflops * 1e12)),
        availability: stage.availability,
    };
    let stages = section.into_iter().filter(|_| is_same).flat_map(|section| &section.stage);
    let resources = Resources {
        device,
        n_devices,
        precision: run.precision,
        recompute: run.recompute,
        usd_per_device_hour,
        kg_co2e_per_kwh: section.and_then(|section| section.kg_co2e_per_kwh),
        power_usage_effectiveness: section.map_or(1.0, |section| section.power_usage_effectiveness),
        speeds: stages.map(|(name, stage)| (name.clone(), speed(stage))).collect(),
    };
    Ok(Known { resources, price_from })
}

fn device(run: &Run, hardware: &Hardware, changes: &Changes<'_>) -> anyhow::Result<Device> {
    let n_laid_out = run.layouts[0].n_devices();
    let name = match (changes.gpu, &run.plan_section) {
        (Some(name), _) => name,
        (None, Some(section)) => &section.gpu[..],
        (None, None) if n_laid_out == 1 => "cpu",
        (None, None) => anyhow::bail!(
            "the stages are laid out over {n_laid_out} devices, and nothing says which: add [plan] with gpu, gpus and \
             usd_per_gpu_hour, or --gpu and --gpu-hour"
        ),
    };
    Ok(hardware.find(name)?.clone())
}

/// Money for an hour of one device, and who says so. The price of one device is not that of another.
fn price(run: &Run, device: &Device, changes: &Changes<'_>) -> anyhow::Result<(f64, &'static str)> {
    match (changes.gpu_hour, &run.plan_section) {
        (Some(usd), _) => Ok((usd, "--gpu-hour")),
        (None, Some(section)) if section.gpu.eq_ignore_ascii_case(&device.name) => {
            Ok((section.usd_per_gpu_hour, "[plan] usd_per_gpu_hour"))
        }
        (None, Some(section)) => anyhow::bail!(
            "{} USD an hour is the price of the run file's {}; say what an hour of one {} costs: --gpu-hour USD",
            section.usd_per_gpu_hour,
            section.gpu,
            device.name
        ),
        (None, None) if changes.gpu.is_some() && !device.name.eq_ignore_ascii_case("cpu") => anyhow::bail!(
            "the run file has no [plan], so no price of a {0}; say what an hour of one {0} costs: --gpu-hour USD",
            device.name
        ),
        (None, None) => Ok((run.report.cost.usd_per_hour / run.layouts[0].n_devices() as f64, "[report] cost")),
    }
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

fn plan_budget(arguments: &PlanArguments, budget_usd: f64) -> Result<(), Failure> {
    let template = match &arguments.run {
        Some(path) => fs::read_to_string(path)
            .with_context(|| format!("cannot read the run file {}", path.display()))
            .map_err(Failure::run_file)?,
        None => FLM_101B.to_owned(),
    };
    let path = arguments.run.as_deref().unwrap_or(Path::new("configs/flm-101b.toml"));
    let run = Run::parse(&template, path)?;
    let resources = budget_resources(&run, arguments).map_err(Failure::run_file)?;
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
    let dropped = match &arguments.out {
        Some(out) => write_run(out, arguments, (&template, path, &run), (&proposals[0], &resources))?,
        None => Vec::new(),
    };
    if arguments.json {
        say!("{}", json!({ "proposals": proposals, "loss_law": CHINCHILLA }));
        return Ok(());
    }
    say!("{}", table::proposals(&question, &proposals).trim_end());
    if let Some(out) = &arguments.out {
        say!("\n1 is written to {}: `moso plan {0}`; put your own sources there", out.display());
        if !dropped.is_empty() {
            say!("without {}, which were for other models", dropped.join(" and "));
        }
    }
    Ok(())
}

/// What is asked for on the command line. Carbon and the site's own energy are those of the run file that a person names.
fn budget_resources(run: &Run, arguments: &PlanArguments) -> anyhow::Result<Resources> {
    let mut table = hardware(run);
    if let Some(file) = &arguments.hardware {
        table = extended(table, file)?;
    }
    let device = table.find(arguments.gpu.as_deref().unwrap_or(BUDGET_GPU))?.clone();
    let section = run.plan_section.as_ref().filter(|_| arguments.run.is_some());
    let usd_per_device_hour = arguments.gpu_hour.context("--budget needs the price of an hour: --gpu-hour USD")?;
    Ok(Resources {
        n_devices: arguments.gpus.unwrap_or(device.node.devices),
        device,
        precision: run.precision,
        recompute: run.recompute,
        usd_per_device_hour,
        kg_co2e_per_kwh: section.and_then(|section| section.kg_co2e_per_kwh),
        power_usage_effectiveness: section.map_or(1.0, |section| section.power_usage_effectiveness),
        speeds: BTreeMap::new(),
    })
}

/// The sections of the template that are left out of what is written.
fn write_run(
    out: &Path,
    arguments: &PlanArguments,
    (template, template_path, run): (&str, &Path, &Run),
    (proposal, resources): (&Proposal, &Resources),
) -> Result<Vec<&'static str>, Failure> {
    if out.exists() && !arguments.force {
        return Err(Failure::run_file(anyhow!("{} is there already; --force writes over it", out.display())));
    }
    let (from, to) = (places::folder_of(template_path), places::folder_of(out));
    let of_section =
        run.plan_section.as_ref().and_then(|section| section.hardware.as_ref()).map(|file| from.join(file));
    let own_file = arguments.hardware.clone().or(of_section);
    // What the table has anyway needs no file.
    let is_own = Hardware::built_in().find(&resources.device.name).ok() != Some(&resources.device);
    let hardware = own_file.filter(|_| is_own).map(|file| places::relative(&file, to));
    let moved = places::moved(template, from, to);
    let (text, dropped) =
        run_text::run_text(&moved, proposal, resources, hardware.as_deref()).map_err(Failure::run_file)?;
    // What cannot be read back, or not as what it was, must not be written.
    let read_back = Run::parse(&text, out)?;
    for (then, now) in run.sources.iter().zip(&read_back.sources) {
        let (then, now) = (places::plain(&then.path), places::plain(&now.path));
        if then != now {
            let what = anyhow!(
                "{} would be read as {}; write the proposal beside the run file",
                then.display(),
                now.display()
            );
            return Err(Failure::run_file(what));
        }
    }
    let name = out.file_name().and_then(|name| name.to_str()).unwrap_or("run.toml");
    write_atomically(to, name, text.as_bytes(), 1)?;
    Ok(dropped)
}
