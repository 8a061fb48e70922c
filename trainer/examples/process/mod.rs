//! What the system says of the running process: CPU time, memory, reads.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Of all threads since the start.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).expect("nanoseconds of a second"))
}

/// A figure of the process's memory in MiB; 0 where the system does not say.
pub(crate) fn memory_mib(name: &str) -> f64 {
    field("/proc/self/status", name) / 1024.0
}

/// The number behind `name` in a file of the process; 0 where the system does not say.
pub(crate) fn field(path: &str, name: &str) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}
