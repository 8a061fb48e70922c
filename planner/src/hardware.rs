//! What a run can be computed on: a table in `hardware.toml`, which a person may extend.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::names::nearest_name;
use crate::shape::Precision;

/// The table that comes with moso.
const TABLE: &str = include_str!("hardware.toml");

/// No number of a device is above it.
const NUMBER_MOST: f64 = 1e9;

/// One kind of GPU, or of processor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its name in run files.
    pub name: String,
    /// What it is, a GPU where nothing is said.
    #[serde(default)]
    pub kind: DeviceKind,
    /// Threads that compute side by side where it is a processor.
    #[serde(default = "one")]
    pub threads: u64,
    /// Peak of dense matrix products.
    pub tflops: Peak,
    /// Memory in GiB.
    pub memory_gib: f64,
    /// Power in watts.
    pub watts: f64,
    /// Share of the peak that it reaches in a block, before any communication.
    pub compute_share: f64,
    /// Share of the wall clock that computes, where a run file doesn't say.
    pub availability: f64,
    /// To the devices of its own node, one direction, in GB/s.
    pub link_gb_per_s: f64,
    /// To its host's memory, in GB/s.
    pub host_gb_per_s: f64,
    /// The server that it is in.
    pub node: Node,
}

fn one() -> u64 {
    1
}

/// What a device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A GPU: a checkpoint's copy lies in its host's memory.
    #[default]
    Gpu,
    /// A processor with all that is in its memory.
    Cpu,
}

/// Peaks in TFLOP/s by what products compute in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peak {
    /// In bfloat16.
    pub bfloat16: f64,
    /// In float32.
    pub float32: f64,
}

/// A server with several devices.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Devices in it.
    pub devices: u64,
    /// To other nodes, for each device and direction, in GB/s.
    pub network_gb_per_s: f64,
    /// To the disks that hold checkpoints, in GB/s.
    pub storage_gb_per_s: f64,
}

impl Device {
    /// Peak in FLOP/s.
    pub fn peak_flops(&self, precision: Precision) -> f64 {
        let tflops = match precision {
            Precision::Float32 => self.tflops.float32,
            Precision::Bfloat16 => self.tflops.bfloat16,
        };
        tflops * 1e12
    }
}

/// Hardware that cannot be used.
#[derive(Debug, Error)]
pub enum HardwareError {
    /// No such device.
    #[error("there is no device {name:?}; did you mean {nearest:?}? Known are {known}; --hardware FILE adds others")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The known name that is most like it.
        nearest: String,
        /// All known names.
        known: String,
    },
    /// The file cannot be read as a table.
    #[error("not a table of hardware")]
    Parse(#[from] toml::de::Error),
    /// A number that nothing can have.
    #[error("device {name:?}: {field} is {value}; it must be {expected}")]
    Number {
        /// The device.
        name: String,
        /// The field.
        field: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
}

/// All known devices.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// In the order in which they were given.
    pub device: Vec<Device>,
}

impl Hardware {
    /// The table that comes with moso.
    pub fn built_in() -> Self {
        Self::parse(TABLE).expect("the built-in table is tested")
    }

    /// The same with the devices of `text`, a table in the form of `hardware.toml`. A device replaces the one of its name, upper and lower case
    /// the same, as in [`Hardware::find`].
    pub fn extended(mut self, text: &str) -> Result<Self, HardwareError> {
        for device in Self::parse(text)?.device {
            self.device.retain(|known| !known.name.eq_ignore_ascii_case(&device.name));
            self.device.push(device);
        }
        Ok(self)
    }

    fn parse(text: &str) -> Result<Self, HardwareError> {
        let table: Self = toml::from_str(text)?;
        table.device.iter().try_for_each(check_device)?;
        Ok(table)
    }

    /// The device of that name; upper and lower case are the same.
    pub fn find(&self, name: &str) -> Result<&Device, HardwareError> {
        let names: Vec<&str> = self.device.iter().map(|device| &device.name[..]).collect();
        self.device.iter().find(|device| device.name.eq_ignore_ascii_case(name)).ok_or_else(|| HardwareError::Unknown {
            name: name.to_owned(),
            nearest: nearest_name(name, &names).to_owned(),
            known: names.join(", "),
        })
    }
}

fn check_device(device: &Device) -> Result<(), HardwareError> {
    let Device {
        name,
        kind: _,
        threads: _,
        tflops,
        memory_gib,
        watts,
        compute_share,
        availability,
        link_gb_per_s,
        host_gb_per_s,
        node,
    } = device;
    let wrong = |field, value, expected| Err(HardwareError::Number { name: name.clone(), field, value, expected });
    let above_zero = [
        ("tflops.bfloat16", tflops.bfloat16),
        ("tflops.float32", tflops.float32),
        ("memory_gib", *memory_gib),
        ("watts", *watts),
        ("link_gb_per_s", *link_gb_per_s),
        ("host_gb_per_s", *host_gb_per_s),
        ("node.devices", node.devices as f64),
        ("node.network_gb_per_s", node.network_gb_per_s),
        ("node.storage_gb_per_s", node.storage_gb_per_s),
    ];
    for (field, value) in above_zero {
        if !(value > 0.0 && value <= NUMBER_MOST) {
            return wrong(field, value, "above 0 and at most 1e9");
        }
    }
    for (field, value) in [("compute_share", *compute_share), ("availability", *availability)] {
        if !(value > 0.0 && value <= 1.0) {
            return wrong(field, value, "above 0 and at most 1");
        }
    }
    Ok(())
}
