//! The communication model beside speeds that others published.

use crate::*;

/// TFLOP/s of one device that the model gives a layout.
fn modelled(device: &str, shape: Shape, rows: u64, layout: Layout, recompute: Recompute) -> f64 {
    let hardware = Hardware::built_in();
    let device = hardware.find(device).unwrap();
    let machine = Machine { device, n_devices: layout.n_devices(), precision: Precision::Bfloat16, recompute };
    let forecast = forecast_layout(&shape, Batch { rows, micro_rows: 1 }, layout, &machine);
    assert!(forecast.memory_gib <= usable_gib(device), "{forecast:?}");
    forecast.flops_per_s / 1e12
}

/// FLM-101B's stages on 192 A800 (table 2).
#[test]
fn the_papers_layouts() {
    let shape = |layers, hidden| Shape {
        layers,
        hidden,
        heads: hidden / 128,
        head_size: 128,
        ffn: 4 * hidden,
        vocabulary: 100_352,
        context: 2048,
    };
    let layout = |tensor, pipeline, data| Layout { tensor, pipeline, data };
    for (shape, rows, layout, published) in [
        (shape(24, 7168), 2304, layout(2, 1, 96), 162.0),
        (shape(44, 9728), 2304, layout(4, 2, 24), 160.0),
        (shape(80, 10_240), 2160, layout(4, 4, 12), 165.0),
    ] {
        let found = modelled("A800", shape, rows, layout, Recompute::None);
        println!("{layout}: {found:.1} TFLOP/s, published {published}");
        assert!((found / published - 1.0).abs() < 0.1, "{layout}: {found} instead of {published}");
    }
}
