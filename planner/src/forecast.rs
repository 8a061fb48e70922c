//! What a run will take: FLOPs, days, money, energy, memory and data, for every stage, in all, and beside the last model trained from
//! scratch on the same tokens.
//!
//! Time is FLOPs / (devices x speed x availability). The speed is that of a device while it computes. It is stated in the run file, measured
//! in a run, or taken from the communication model of [`crate::layout`]. Availability is the share of the wall clock that computes. Published
//! TFLOP/s say nothing about it, so it is never hidden in the speed.

use std::collections::BTreeMap;

use serde::Serialize;
use thiserror::Error;

use crate::cost::formula_flops;
use crate::hardware::{Device, DeviceKind};
use crate::layout::{Layout, LayoutError, LayoutForecast, Machine, forecast_layout, layouts, usable_gib};
use crate::memory::{Memory, Place, Process, of_layout, of_process};
use crate::shape::{Precision, Recompute, Shape};
use crate::stage::{RunPlan, StagePlan};

/// Bytes of a parameter in a checkpoint: the weight and both moments in float32.
const CHECKPOINT_BYTES: f64 = 12.0;

/// Bytes of a token in packed rows.
const TOKEN_BYTES: f64 = 4.0;

/// Layouts that are told, of those that fit.
const LAYOUTS_TOLD: usize = 3;

const SECONDS_A_DAY: f64 = 86_400.0;

/// What a run is computed with, and what that costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Resources {
    /// One device.
    pub device: Device,
    /// How many.
    pub n_devices: u64,
    /// What products compute in.
    pub precision: Precision,
    /// What is computed twice.
    pub recompute: Recompute,
    /// Money for an hour of one device.
    pub usd_per_device_hour: f64,
    /// Carbon intensity of the electricity, where it is known.
    pub kg_co2e_per_kwh: Option<f64>,
    /// Energy of the whole site for each kWh of its devices (PUE). Counts for carbon; the paper's energy is that of its devices.
    pub power_usage_effectiveness: f64,
    /// What is known of a stage's speed, by its name.
    pub speeds: BTreeMap<String, StageSpeed>,
}

/// What is known of the speed of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StageSpeed {
    /// FLOP/s of one device while it computes; of the communication model where it isn't known.
    pub speed: Option<Speed>,
    /// Share of the wall clock that computes; the device's where it isn't known.
    pub availability: Option<f64>,
}

/// FLOP/s of one device, and how its FLOPs were counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// By the formula with k = 72, as Megatron-LM counts them: published figures.
    Formula(f64),
    /// Product by product, as `moso train` counts them.
    Exact(f64),
}

/// Where a speed comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpeedSource {
    /// The run file.
    Stated,
    /// A run's log.
    Measured,
    /// The communication model.
    Modelled,
}

/// What adds up over stages; memory is the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Amounts {
    /// Parameters; in all, those of the last model.
    pub params: u64,
    /// Tokens.
    pub tokens: u64,
    /// Steps.
    pub steps: u64,
    /// FLOPs by the formula with k = 72, in 10^21.
    pub zflops: f64,
    /// The same with k = 96: with all activations computed twice.
    pub zflops_recomputed: f64,
    /// FLOPs counted product by product.
    pub zflops_exact: f64,
    /// Days.
    pub days: f64,
    /// Days that compute.
    pub compute_days: f64,
    /// Hours of all devices.
    pub gpu_hours: f64,
    /// Money.
    pub usd: f64,
    /// Energy of the devices.
    pub kwh: f64,
    /// Carbon dioxide and what equals it, of the whole site; nothing where the carbon intensity isn't known.
    pub kg_co2e: Option<f64>,
    /// Memory of the fullest device.
    pub memory_gib_per_gpu: f64,
    /// What is read of packed rows.
    pub data_bytes: f64,
}

impl Amounts {
    /// Both together.
    fn and(&self, other: &Self) -> Self {
        Self {
            params: other.params,
            tokens: self.tokens + other.tokens,
            steps: self.steps + other.steps,
            zflops: self.zflops + other.zflops,
            zflops_recomputed: self.zflops_recomputed + other.zflops_recomputed,
            zflops_exact: self.zflops_exact + other.zflops_exact,
            days: self.days + other.days,
            compute_days: self.compute_days + other.compute_days,
            gpu_hours: self.gpu_hours + other.gpu_hours,
            usd: self.usd + other.usd,
            kwh: self.kwh + other.kwh,
            kg_co2e: self.kg_co2e.zip(other.kg_co2e).map(|(a, b)| a + b),
            memory_gib_per_gpu: self.memory_gib_per_gpu.max(other.memory_gib_per_gpu),
            data_bytes: self.data_bytes + other.data_bytes,
        }
    }
}

/// What a stage will take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageForecast {
    /// Its name.
    pub name: String,
    /// Its model.
    pub shape: Shape,
    /// What adds up.
    #[serde(flatten)]
    pub amounts: Amounts,
    /// The layout of the run file.
    pub layout: Layout,
    /// TFLOP/s of one device while it computes.
    pub tflops: f64,
    /// The same as a share of its peak.
    pub share_of_peak: f64,
    /// Where that comes from.
    pub speed: SpeedSource,
    /// Share of the wall clock that computes.
    pub availability: f64,
    /// Memory of the fullest device, bytes.
    pub memory: Memory,
    /// Whether that fits.
    pub fits: bool,
    /// Size of a checkpoint.
    pub checkpoint_bytes: f64,
    /// Time to copy it to memory of the hosts.
    pub checkpoint_copy_seconds: f64,
    /// Time to write it to disks.
    pub checkpoint_write_seconds: f64,
    /// What all loaders together read in a second that computes.
    pub loader_bytes_per_s: f64,
    /// Layouts that fit, with any micro-batch.
    pub n_layouts: usize,
    /// The fastest of them by the communication model.
    pub fastest: Vec<LayoutForecast>,
    /// What as many tokens take in the last stage's model and layout.
    pub from_scratch: Amounts,
}

/// What a run will take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// What it is computed with.
    pub gpu: String,
    /// How many of them.
    pub gpus: u64,
    /// Every stage.
    pub stages: Vec<StageForecast>,
    /// All stages.
    pub total: Amounts,
    /// The last model from scratch on as many tokens.
    pub from_scratch: Amounts,
    /// Share of its time and money that growth saves.
    pub saving: f64,
}

/// A run that no forecast can be made of.
#[derive(Debug, Error, PartialEq)]
pub enum ForecastError {
    /// A layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A stage is named that there is not.
    #[error("[plan] names the stage {name:?}, which there is not; the stages are {known}")]
    Stage {
        /// The name.
        name: String,
        /// All stages.
        known: String,
    },
    /// A number that nothing can have.
    #[error("[plan] {field} is {value}; it must be {expected}")]
    Number {
        /// The setting.
        field: String,
        /// What it is.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
}

/// What `run` will take, with a layout for every stage.
///
/// # Panics
/// Where there are not as many layouts as stages.
pub fn forecast(run: &RunPlan, layouts: &[Layout], resources: &Resources) -> Result<Forecast, ForecastError> {
    assert_eq!(run.stages.len(), layouts.len(), "a layout for every stage");
    check_resources(run, resources)?;
    let (Some(last), Some(&last_layout)) = (run.stages.last(), layouts.last()) else {
        unreachable!("a run has at least one stage")
    };
    let at_last = Rate::of(last, last_layout, resources)?;
    let mut stages = Vec::new();
    for (stage, &layout) in run.stages.iter().zip(layouts) {
        stages.push(forecast_stage(stage, layout, (last, &at_last), resources)?);
    }
    let sum = |of: fn(&StageForecast) -> &Amounts| {
        stages.iter().map(of).copied().reduce(|sum, next| sum.and(&next)).expect("a run has at least one stage")
    };
    let total = sum(|stage| &stage.amounts);
    let from_scratch = Amounts {
        memory_gib_per_gpu: stages[stages.len() - 1].amounts.memory_gib_per_gpu,
        ..sum(|stage| &stage.from_scratch)
    };
    let saving = 1.0 - total.days / from_scratch.days;
    Ok(Forecast { gpu: resources.device.name.clone(), gpus: resources.n_devices, stages, total, from_scratch, saving })
}

fn check_resources(run: &RunPlan, resources: &Resources) -> Result<(), ForecastError> {
    let known = || run.stages.iter().map(|stage| &stage.name[..]).collect::<Vec<_>>().join(", ");
    let wrong = |field: String, value, expected| Err(ForecastError::Number { field, value, expected });
    for (name, speed) in &resources.speeds {
        if !run.stages.iter().any(|stage| stage.name == *name) {
            return Err(ForecastError::Stage { name: name.clone(), known: known() });
        }
        if let Some(Speed::Formula(flops) | Speed::Exact(flops)) = speed.speed
            && !(flops > 0.0 && flops.is_finite())
        {
            return wrong(format!("stage.{name}.tflops"), flops / 1e12, "above 0");
        }
        if let Some(availability) = speed.availability
            && !(availability > 0.0 && availability <= 1.0)
        {
            return wrong(format!("stage.{name}.availability"), availability, "above 0 and at most 1");
        }
    }
    let at_least = [
        ("gpus", resources.n_devices as f64, 1.0, "at least 1"),
        ("usd_per_gpu_hour", resources.usd_per_device_hour, 0.0, "at least 0"),
        ("kg_co2e_per_kwh", resources.kg_co2e_per_kwh.unwrap_or(0.0), 0.0, "at least 0"),
        ("power_usage_effectiveness", resources.power_usage_effectiveness, 1.0, "at least 1"),
    ];
    for (field, value, least, expected) in at_least {
        if !(value >= least && value.is_finite()) {
            return wrong(field.to_owned(), value, expected);
        }
    }
    Ok(())
}

/// How fast a stage is, on all devices.
struct Rate {
    speed: Speed,
    source: SpeedSource,
    availability: f64,
}

impl Rate {
    fn of(stage: &StagePlan, layout: Layout, resources: &Resources) -> Result<Self, ForecastError> {
        let n_devices = resources.n_devices;
        layout.check(&stage.name, &stage.shape, stage.batch)?;
        if layout.n_devices() != n_devices {
            let parts = layout.tensor * layout.pipeline;
            let nearest = crate::names::nearest_whole(n_devices, parts);
            let (stage, found) = (stage.name.clone(), layout.n_devices());
            return Err(LayoutError::Devices { stage, layout, found, expected: n_devices, nearest }.into());
        }
        let known = resources.speeds.get(&stage.name).copied().unwrap_or_default();
        let (speed, source) = match known.speed {
            Some(speed @ Speed::Formula(_)) => (speed, SpeedSource::Stated),
            Some(speed @ Speed::Exact(_)) => (speed, SpeedSource::Measured),
            None => {
                let modelled = forecast_layout(&stage.shape, stage.batch, layout, &machine(resources));
                (Speed::Exact(modelled.flops_per_s), SpeedSource::Modelled)
            }
        };
        let availability = known.availability.unwrap_or(resources.device.availability);
        Ok(Self { speed, source, availability })
    }

    /// Seconds that all devices compute to train `shape` on so many tokens.
    fn compute_seconds(&self, shape: &Shape, n_tokens: u64, n_devices: u64) -> f64 {
        match self.speed {
            Speed::Formula(flops) => formula_flops(72, n_tokens, shape) / flops / n_devices as f64,
            Speed::Exact(flops) => n_tokens as f64 * shape.flops_per_token() as f64 / flops / n_devices as f64,
        }
    }

    fn flops_per_s(&self) -> f64 {
        let (Speed::Formula(flops) | Speed::Exact(flops)) = self.speed;
        flops
    }
}

fn machine(resources: &Resources) -> Machine<'_> {
    let Resources { device, n_devices, precision, recompute, .. } = resources;
    Machine { device, n_devices: *n_devices, precision: *precision, recompute: *recompute }
}

fn forecast_stage(
    stage: &StagePlan,
    layout: Layout,
    (last, at_last): (&StagePlan, &Rate),
    resources: &Resources,
) -> Result<StageForecast, ForecastError> {
    let Resources { device, n_devices, precision, .. } = resources;
    let rate = Rate::of(stage, layout, resources)?;
    let memory = stage_memory(stage, &layout, resources);
    let counts = (stage.n_tokens(), stage.n_steps);
    let amounts = amounts(&stage.shape, counts, &rate, memory.gib(), resources);
    let scratch_memory = stage_memory(last, &layout, resources).gib();
    let from_scratch = self::amounts(&last.shape, counts, at_last, scratch_memory, resources);
    let checkpoint_bytes = CHECKPOINT_BYTES * stage.shape.n_parameters() as f64;
    let n_nodes = n_devices.div_ceil(device.node.devices) as f64;
    let (n_layouts, fastest) = told_layouts(stage, layout, resources)?;
    Ok(StageForecast {
        name: stage.name.clone(),
        shape: stage.shape,
        amounts,
        layout,
        tflops: rate.flops_per_s() / 1e12,
        share_of_peak: rate.flops_per_s() / device.peak_flops(*precision),
        speed: rate.source,
        availability: rate.availability,
        memory,
        fits: memory.gib() <= usable_gib(device),
        checkpoint_bytes,
        // Every device copies its share, every node writes that of its devices.
        checkpoint_copy_seconds: checkpoint_bytes / *n_devices as f64 / (device.host_gb_per_s * 1e9),
        checkpoint_write_seconds: checkpoint_bytes / n_nodes / (device.node.storage_gb_per_s * 1e9),
        loader_bytes_per_s: amounts.data_bytes / (amounts.compute_days * SECONDS_A_DAY),
        n_layouts,
        fastest,
        from_scratch,
    })
}

fn amounts(
    shape: &Shape,
    (n_tokens, n_steps): (u64, u64),
    rate: &Rate,
    memory_gib_per_gpu: f64,
    resources: &Resources,
) -> Amounts {
    let n_devices = resources.n_devices;
    let compute_seconds = rate.compute_seconds(shape, n_tokens, n_devices);
    let hours = compute_seconds / rate.availability / 3600.0;
    let gpu_hours = hours * n_devices as f64;
    let kwh = gpu_hours * resources.device.watts / 1000.0;
    let context = shape.context as f64;
    Amounts {
        params: shape.n_parameters(),
        tokens: n_tokens,
        steps: n_steps,
        zflops: formula_flops(72, n_tokens, shape) / 1e21,
        zflops_recomputed: formula_flops(96, n_tokens, shape) / 1e21,
        zflops_exact: n_tokens as f64 * shape.flops_per_token() as f64 / 1e21,
        days: hours / 24.0,
        compute_days: compute_seconds / SECONDS_A_DAY,
        gpu_hours,
        usd: gpu_hours * resources.usd_per_device_hour,
        kwh,
        kg_co2e: resources.kg_co2e_per_kwh.map(|kg| kwh * resources.power_usage_effectiveness * kg),
        memory_gib_per_gpu,
        // A row has one token more than it predicts.
        data_bytes: TOKEN_BYTES * n_tokens as f64 * (context + 1.0) / context,
    }
}

fn stage_memory(stage: &StagePlan, layout: &Layout, resources: &Resources) -> Memory {
    let Resources { device, precision, recompute, .. } = resources;
    if *layout != Layout::ONE {
        return of_layout(&stage.shape, stage.batch, layout, *precision, *recompute);
    }
    let place = match device.kind {
        DeviceKind::Cpu => Place::Cpu { n_threads: device.threads },
        DeviceKind::Gpu => Place::Gpu,
    };
    let process = Process {
        place,
        precision: *precision,
        recompute: *recompute,
        grows: stage.growth.is_some(),
        has_masks: stage.n_ramp_steps > 0,
        has_checkpoints: true,
    };
    of_process(&stage.shape, stage.batch, &process)
}

/// How many layouts fit, and the fastest. One device has nothing to choose.
fn told_layouts(
    stage: &StagePlan,
    layout: Layout,
    resources: &Resources,
) -> Result<(usize, Vec<LayoutForecast>), ForecastError> {
    if resources.n_devices == 1 {
        return Ok((1, vec![forecast_layout(&stage.shape, stage.batch, layout, &machine(resources))]));
    }
    let mut all = layouts(&stage.name, &stage.shape, stage.batch.rows, &machine(resources))?;
    let n_layouts = all.len();
    all.truncate(LAYOUTS_TOLD);
    Ok((n_layouts, all))
}
