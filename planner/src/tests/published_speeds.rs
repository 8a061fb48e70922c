//! The communication model beside speeds that others published. What it is off by is recorded, row by row, and
//! docs/planning.md tells the same.

use crate::*;

/// TFLOP/s of one device that the model gives a layout.
fn modelled(device: &str, shape: Shape, batch: Batch, layout: Layout) -> f64 {
    let hardware = Hardware::built_in();
    let device = hardware.find(device).unwrap();
    let recompute = Recompute::None;
    let machine = Machine { device, n_devices: layout.n_devices(), precision: Precision::Bfloat16, recompute };
    let forecast = forecast_layout(&shape, batch, layout, Beginning::PLAIN, &machine);
    assert!(forecast.memory_gib <= usable_gib(device), "{forecast:?}");
    forecast.flops_per_s / 1e12
}

fn gpt(layers: u64, hidden: u64, vocabulary: u64) -> Shape {
    Shape { layers, hidden, heads: hidden / 128, head_size: 128, ffn: 4 * hidden, vocabulary, context: 2048 }
}

/// By how many per cent the model is faster than what was published, within half a per cent.
#[track_caller]
fn off_by(found: f64, published: f64, per_cent: f64) {
    let off = 100.0 * (found / published - 1.0);
    assert!(
        (off - per_cent).abs() < 0.5,
        "{found:.1} instead of {published:.1}: {off:.1} %, recorded are {per_cent} %"
    );
}

/// FLM-101B's stages on 192 A800 (table 2): too fast in all three, more so with more parts.
#[test]
fn the_papers_layouts() {
    let layout = |tensor, pipeline, data| Layout { tensor, pipeline, data };
    for (shape, rows, layout, published, per_cent) in [
        (gpt(24, 7168, 100_352), 2304, layout(2, 1, 96), 162.0, 1.5),
        (gpt(44, 9728, 100_352), 2304, layout(4, 2, 24), 160.0, 8.6),
        (gpt(80, 10_240, 100_352), 2160, layout(4, 4, 12), 165.0, 6.7),
    ] {
        off_by(modelled("A800", shape, Batch { rows, micro_rows: 1 }, layout), published, per_cent);
    }
}

/// llm-foundry's tables of MPT models (scripts/train/benchmarking/README.md): share of the peak in per cent, at their rows a step, with blocks computed
/// twice where theirs are. They train with FSDP, which shards what our layouts hold whole: the fastest layout that fits stands for it, with
/// or without computing twice.
#[test]
fn the_speeds_of_llm_foundry() {
    let hardware = Hardware::built_in();
    let fastest = |device: &str, n_devices, shape: &Shape, rows, recompute| {
        let device = hardware.find(device).unwrap();
        let machine = Machine { device, n_devices, precision: Precision::Bfloat16, recompute };
        let found = layouts("", shape, rows, Beginning::PLAIN, &machine).unwrap()[0];
        100.0 * found.flops_per_s / device.peak_flops(Precision::Bfloat16)
    };
    let mpt_13b = gpt(40, 5120, 50_368);
    let mpt_70b = gpt(80, 8192, 50_368);
    for (device, n_devices, shape, rows, recompute, published, per_cent) in [
        ("A100", 8, mpt_13b, 48, Recompute::None, 59.57, -0.3),
        ("A100", 64, mpt_70b, 2048, Recompute::Blocks, 53.33, -15.4),
        ("H100", 64, mpt_13b, 128, Recompute::None, 39.86, -5.5),
        ("H100", 128, mpt_13b, 2048, Recompute::Blocks, 42.18, -21.8),
        // Our layouts need not compute twice what FSDP does: that is what a plan would choose.
        ("A100", 64, mpt_70b, 2048, Recompute::None, 53.33, 12.2),
        ("H100", 128, mpt_13b, 2048, Recompute::None, 42.18, 2.8),
    ] {
        off_by(fastest(device, n_devices, &shape, rows, recompute), published, per_cent);
    }
}
