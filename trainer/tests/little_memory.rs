//! Growing a checkpoint offline takes the memory of its largest tensor and a constant, whatever its size. A process of its own, so that what it
//! takes is its own. The checkpoint is a sparse one of zeros: about 0.5 GB of tensors here, 8 GB in `cargo xtask soak grow`, which sets the number
//! of blocks.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot set itself up has failed; the soak sets its size by a variable"
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use corpus::{FileEntry, Manifest, Seed, Settings};
use planner::{Depth, Growth, Moments, MuP, Shape, Width};
use serde_json::json;
use trainer::checkpoint::{CHECKPOINT_FORMAT, RunState, checkpoint_folder, grow_offline, load_weights, read_state};
use trainer::growth::GrowthStep;
use trainer::parameter_specs;
use trainer::stability::Window;

const MUP: MuP = MuP { base_width: 256, input_multiplier: 1.0, output_multiplier: 1.0, init_std: 0.02 };

/// Most memory that this process had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn state(shape: Shape) -> RunState {
    RunState {
        stage: 0,
        stage_name: "small".to_owned(),
        step: 3,
        tokens: 0,
        position: 0,
        shape,
        mup: MUP,
        masks: None,
        updates: 3,
        window: Window::default(),
        skipped: Vec::new(),
        seed: 0,
        settings: Settings(json!({})),
        parents: Vec::new(),
    }
}

/// A checkpoint whose tensors are holes in its files.
fn sparse_checkpoint(checkpoints: &Path, shape: Shape) -> PathBuf {
    let folder = checkpoint_folder(checkpoints, 3);
    fs::create_dir_all(&folder).unwrap();
    let (mut header, mut slices, mut end) = (BTreeMap::new(), BTreeMap::new(), 0);
    for spec in parameter_specs(&shape) {
        let (size, first) = (spec.size(&shape), end);
        end += 4 * size.iter().product::<i64>() as u64;
        slices.insert(spec.name.clone(), json!({ "shape": size, "start": vec![0; size.len()] }));
        header.insert(spec.name, json!({ "dtype": "F32", "shape": size, "data_offsets": [first, end] }));
    }
    let slices = serde_json::to_string(&slices).unwrap();
    header.insert("__metadata__".to_owned(), json!({ "moso.slices": slices }));
    let mut header = serde_json::to_vec(&header).unwrap();
    header.resize(header.len().next_multiple_of(8), b' ');
    for part in ["weights", "first-moment", "second-moment"] {
        let mut file = File::create(folder.join(format!("{part}-00000.safetensors"))).unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(&header).unwrap();
        file.set_len(8 + header.len() as u64 + end).unwrap();
    }
    fs::write(folder.join("state.json"), serde_json::to_vec(&state(shape)).unwrap()).unwrap();
    let entry = |file: std::io::Result<fs::DirEntry>| {
        let (path, name) = file.map(|file| (file.path(), file.file_name())).unwrap();
        let (bytes, blake3) = (fs::metadata(&path).unwrap().len(), corpus::hash_file(&path).unwrap());
        FileEntry { path: name.into_string().unwrap(), rows: 1, bytes, blake3 }
    };
    let files: Vec<FileEntry> = fs::read_dir(&folder).unwrap().map(entry).collect();
    Manifest::new("checkpoint", CHECKPOINT_FORMAT, &Settings(json!({}))).with_files(files).commit(&folder).unwrap();
    folder
}

#[test]
fn growing_offline_takes_little_memory() {
    let layers = std::env::var("MOSO_GROW_LAYERS").map_or(3, |layers| layers.parse().unwrap());
    let wide = Shape { layers, hidden: 1024, heads: 16, head_size: 64, ffn: 4096, vocabulary: 1024, context: 128 };
    let narrow = Shape { layers: 3, hidden: 512, heads: 8, ffn: 2048, ..wide };
    let random = Shape { layers: layers + 2, hidden: 1088, heads: 17, ffn: 4352, ..wide };
    let split = Shape { hidden: 1024, heads: 16, ffn: 4096, ..narrow };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let before = peak();
    for (name, old, new, width) in [("split", narrow, split, Width::Split), ("random", wide, random, Width::Random)] {
        let small = sparse_checkpoint(&folder.path().join("small").join(name), old);
        let ramp_tokens = u64::from(width == Width::Random);
        let growth = Growth { depth: Depth::Interpose, width, ramp_tokens, moments: Moments::Grown };
        let step = GrowthStep { old, new, growth, mup: MUP, seed: Seed::root(1) };
        let grown = grow_offline(&small, &step, &folder.path().join(name)).unwrap();
        let (more, n_bytes) = (peak() - before, 12 * old.n_parameters());
        println!("{name}: {} MB grown with {} MB beyond {} MB", n_bytes >> 20, more >> 20, before >> 20);
        assert_eq!(read_state(&grown).unwrap().shape, new);
        // The largest tensor has 18 MB; what it is made from and with, and buffers, are a few of those.
        assert!(more < 200 << 20 && peak() < 1 << 30, "{name}: {} MB more than before", more >> 20);
        if layers == 3 {
            let ones = load_weights(&grown).unwrap().tensors[1].double_value(&[new.hidden as i64 - 1]);
            // Behind the zeros of the final norm's gain: copies of them, or what a new model has, times the ratio of the widths.
            let expected = if width == Width::Split { 0.0 } else { new.hidden as f64 / old.hidden as f64 };
            assert!((ones - expected).abs() < 1e-6, "{name}: {ones}");
        }
        fs::remove_dir_all(folder.path().join(name)).unwrap();
    }
}
