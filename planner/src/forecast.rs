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
use crate::hardware::Device;
use crate::layout::{Layout, LayoutError, LayoutForecast, Machine, forecast_layout, layouts, usable_gib};
use crate::limits::DEVICES_MOST;
use crate::memory::{Beginning, Memory, of_stage};
use crate::shape::{Precision, Recompute, Shape};
use crate::stage::{RunPlan, StagePlan};

/// Bytes of a parameter in a checkpoint: the weight and both moments in float32.
const CHECKPOINT_BYTES: f64 = 12.0;

/// Bytes of a token in packed rows.
const TOKEN_BYTES: f64 = 4.0;

/// Money for an hour of one device at most.
pub(crate) const PRICE_MOST: f64 = 1_000_000.0;

/// Numbers of devices that are tried on either side of one that cannot be shared.
const DEVICES_TRIED: u64 = 4096;

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

/// Where the share of the wall clock that computes comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AvailabilitySource {
    /// The run file.
    Stated,
    /// A run's log.
    Measured,
    /// The table of hardware, for want of anything better.
    Assumed,
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
    /// Where that comes from.
    pub availability_source: AvailabilitySource,
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
    /// Layouts that fit, each with the micro-batch that is fastest in it.
    pub n_layouts: usize,
    /// The fastest of them by the communication model; of one device the only one there is.
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
    /// Money for an hour of one.
    pub usd_per_gpu_hour: f64,
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
    /// Faster than the device can be.
    #[error(
        "[plan] stage.{stage}.tflops is {tflops}; the peak of {device} is {peak} TFLOP/s. A device of your own goes into a file that [plan] \
         hardware, or --hardware, names"
    )]
    AbovePeak {
        /// The stage.
        stage: String,
        /// What is stated, TFLOP/s.
        tflops: f64,
        /// The device.
        device: String,
        /// What it can reach.
        peak: f64,
    },
    /// No layout of so many devices will do for every stage.
    #[error("{n_devices} x {device} cannot be shared by all stages; {nearest}")]
    Devices {
        /// How many.
        n_devices: u64,
        /// The device.
        device: String,
        /// Numbers of devices that can.
        nearest: String,
        /// The first stage that cannot be laid out.
        #[source]
        why: Box<LayoutError>,
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
    resources.check(run)?;
    let (Some(last), Some(&last_layout)) = (run.stages.last(), layouts.last()) else {
        unreachable!("a run has at least one stage")
    };
    let at_last = Rate::of(last, last_layout, resources)?;
    // From scratch nothing grows, whatever the last stage does.
    let scratch_memory = of_stage(&last.shape, last.batch, &last_layout, Beginning::PLAIN, &machine(resources)).gib();
    let mut stages = Vec::new();
    for (stage, &layout) in run.stages.iter().zip(layouts) {
        stages.push(forecast_stage(stage, layout, (&last.shape, &at_last, scratch_memory), resources)?);
    }
    let sum = |of: fn(&StageForecast) -> &Amounts| {
        stages.iter().map(of).copied().reduce(|sum, next| sum.and(&next)).expect("a run has at least one stage")
    };
    let total = sum(|stage| &stage.amounts);
    let from_scratch = sum(|stage| &stage.from_scratch);
    let saving = 1.0 - total.days / from_scratch.days;
    let Resources { device, n_devices, usd_per_device_hour, .. } = resources;
    let (gpu, gpus, usd_per_gpu_hour) = (device.name.clone(), *n_devices, *usd_per_device_hour);
    Ok(Forecast { gpu, gpus, usd_per_gpu_hour, stages, total, from_scratch, saving })
}

impl Resources {
    /// Checks all numbers, and that every stage of which something is known is one of the run.
    pub fn check(&self, run: &RunPlan) -> Result<(), ForecastError> {
        let known = || run.stages.iter().map(|stage| &stage.name[..]).collect::<Vec<_>>().join(", ");
        for (name, speed) in &self.speeds {
            if !run.stages.iter().any(|stage| stage.name == *name) {
                return Err(ForecastError::Stage { name: name.clone(), known: known() });
            }
            self.check_speed(name, *speed)?;
        }
        let ranges = [
            ("gpus", self.n_devices as f64, 1.0, DEVICES_MOST as f64, "from 1 to 1000000"),
            ("usd_per_gpu_hour", self.usd_per_device_hour, 0.0, PRICE_MOST, "from 0 to 1000000"),
            ("kg_co2e_per_kwh", self.kg_co2e_per_kwh.unwrap_or(0.0), 0.0, 100.0, "from 0 to 100"),
            ("power_usage_effectiveness", self.power_usage_effectiveness, 1.0, 100.0, "from 1 to 100"),
        ];
        for (field, value, least, most, expected) in ranges {
            if !(least..=most).contains(&value) {
                return Err(ForecastError::Number { field: field.to_owned(), value, expected });
            }
        }
        Ok(())
    }

    fn check_speed(&self, name: &str, known: StageSpeed) -> Result<(), ForecastError> {
        let wrong = |field: &str, value, expected| {
            Err(ForecastError::Number { field: format!("stage.{name}.{field}"), value, expected })
        };
        if let Some(Speed::Formula(flops) | Speed::Exact(flops)) = known.speed
            && !(flops > 0.0 && flops.is_finite())
        {
            return wrong("tflops", flops / 1e12, "above 0");
        }
        // A measured speed is what it is: another processor than the table's may be faster.
        let peak = self.device.peak_flops(self.precision);
        if let Some(Speed::Formula(flops)) = known.speed
            && flops > peak
        {
            let (stage, device) = (name.to_owned(), self.device.name.clone());
            return Err(ForecastError::AbovePeak { stage, tflops: flops / 1e12, device, peak: peak / 1e12 });
        }
        match known.availability {
            Some(share) if !(share > 0.0 && share <= 1.0) => wrong("availability", share, "above 0 and at most 1"),
            _ => Ok(()),
        }
    }
}

/// The run with every stage in its fastest layout, and those layouts.
pub fn fastest_layouts(run: &RunPlan, resources: &Resources) -> Result<(RunPlan, Vec<Layout>), ForecastError> {
    let (mut plan, mut found) = (run.clone(), Vec::new());
    for stage in &mut plan.stages {
        let best = match layouts(&stage.name, &stage.shape, stage.batch.rows, Beginning::of(stage), &machine(resources))
        {
            Ok(all) => all[0],
            Err(why) => {
                let (n_devices, device) = (resources.n_devices, resources.device.name.clone());
                return Err(ForecastError::Devices {
                    n_devices,
                    device,
                    nearest: nearest_devices(run, resources),
                    why: Box::new(why),
                });
            }
        };
        stage.batch.micro_rows = best.micro_rows;
        found.push(best.layout);
    }
    Ok((plan, found))
}

/// The nearest numbers of devices, below and above, that every stage has a layout for.
fn nearest_devices(run: &RunPlan, resources: &Resources) -> String {
    let can = |n_devices: &u64| {
        let machine = Machine { n_devices: *n_devices, ..machine(resources) };
        run.stages
            .iter()
            .all(|stage| layouts(&stage.name, &stage.shape, stage.batch.rows, Beginning::of(stage), &machine).is_ok())
    };
    let n = resources.n_devices;
    let below = (n.saturating_sub(DEVICES_TRIED).max(1)..n).rev().find(can);
    let above = (n + 1..n + DEVICES_TRIED).find(can);
    match (below, above) {
        (Some(below), Some(above)) => format!("{below} and {above} devices can"),
        (Some(only), None) | (None, Some(only)) => format!("{only} devices can"),
        (None, None) => format!("no number of devices within {DEVICES_TRIED} of it can"),
    }
}

/// How fast a stage is, on all devices.
struct Rate {
    speed: Speed,
    source: SpeedSource,
    availability: f64,
    availability_source: AvailabilitySource,
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
                let beginning = Beginning::of(stage);
                let modelled = forecast_layout(&stage.shape, stage.batch, layout, beginning, &machine(resources));
                (Speed::Exact(modelled.flops_per_s), SpeedSource::Modelled)
            }
        };
        let (availability, availability_source) = match (known.availability, source) {
            (Some(share), SpeedSource::Measured) => (share, AvailabilitySource::Measured),
            (Some(share), _) => (share, AvailabilitySource::Stated),
            (None, _) => (resources.device.availability, AvailabilitySource::Assumed),
        };
        Ok(Self { speed, source, availability, availability_source })
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
    (last, at_last, scratch_memory): (&Shape, &Rate, f64),
    resources: &Resources,
) -> Result<StageForecast, ForecastError> {
    let Resources { device, n_devices, precision, .. } = resources;
    let rate = Rate::of(stage, layout, resources)?;
    let memory = of_stage(&stage.shape, stage.batch, &layout, Beginning::of(stage), &machine(resources));
    let counts = (stage.n_tokens(), stage.n_steps);
    let amounts = amounts(&stage.shape, counts, &rate, memory.gib(), resources);
    let from_scratch = self::amounts(last, counts, at_last, scratch_memory, resources);
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
        availability_source: rate.availability_source,
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

/// How many layouts fit, and the fastest. One device has nothing to choose.
fn told_layouts(
    stage: &StagePlan,
    layout: Layout,
    resources: &Resources,
) -> Result<(usize, Vec<LayoutForecast>), ForecastError> {
    if resources.n_devices == 1 {
        let only = forecast_layout(&stage.shape, stage.batch, layout, Beginning::of(stage), &machine(resources));
        let fits = only.memory_gib <= usable_gib(&resources.device);
        return Ok((usize::from(fits), vec![only]));
    }
    let mut all = layouts(&stage.name, &stage.shape, stage.batch.rows, Beginning::of(stage), &machine(resources))?;
    let n_layouts = all.len();
    all.truncate(LAYOUTS_TOLD);
    Ok((n_layouts, all))
}
