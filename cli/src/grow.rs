//! `moso grow`: one growth step offline, on a checkpoint that may be larger than memory.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, anyhow};
use corpus::{Count, FileError, Manifest, Seed};
use planner::{Growth, Shape, check_growth_step};
use trainer::checkpoint::{grow_offline, list_checkpoints, read_state};
use trainer::growth::GrowthStep;

use crate::args::GrowArguments;
use crate::failure::Failure;
use crate::model::find_checkpoint;
use crate::stages::lock;

/// The log of a run that trains.
const METRICS: &str = "metrics.jsonl";

pub(crate) fn grow(arguments: &GrowArguments) -> Result<(), Failure> {
    let folder = find_checkpoint(&arguments.checkpoint)?;
    let state = read_state(&folder)?;
    let old = state.shape;
    let new = shape_to(&arguments.to, old).map_err(Failure::run_file)?;
    // Where masks are only begun with; how long they rise is a matter of the run.
    let ramp_tokens = u64::from(arguments.masked);
    let growth = Growth { depth: arguments.depth, width: arguments.width, ramp_tokens, moments: arguments.moments };
    check_growth_step(&growth, &old, &new).map_err(Failure::run_file)?;
    if state.masks.is_some() {
        let what = "still has masks of the growth step before; take one from behind its mask ramp";
        return Err(Failure::run_file(anyhow!("{} {what}", folder.display())));
    }
    let _lock = check_is_free(&arguments.out)?;
    // Behind a whole checkpoint there is nothing to come: what was interrupted before is begun again.
    copy_tokenizer(&folder, &arguments.out)?;
    let seed = Seed::root(arguments.seed).stream("growth");
    let step = GrowthStep { old, new, growth, mup: state.mup, seed };
    let grown = grow_offline(&folder, &step, &arguments.out.join("checkpoints"))?;
    say!(
        "{}: {} -> {} parameters, {}",
        grown.display(),
        Count(old.n_parameters()),
        Count(new.n_parameters()),
        growth.name()
    );
    match growth.broken_promise(&old, &new) {
        None => say!("it keeps the function"),
        Some(why) => say!("it does NOT keep the function: {why}"),
    }
    Ok(())
}

/// The shape that `written` asks for; axes it does not name stay as they are.
fn shape_to(written: &str, old: Shape) -> anyhow::Result<Shape> {
    let mut shape = old;
    let mut is_named = [false; 4];
    for part in written.split(',') {
        let expected =
            || format!("--to {written:?}: {part:?} is not NAME=NUMBER; names are layers, hidden, heads, ffn");
        let (name, number) = part.split_once('=').with_context(expected)?;
        let places = [&mut shape.layers, &mut shape.hidden, &mut shape.heads, &mut shape.ffn];
        let names = ["layers", "hidden", "heads", "ffn"];
        let index = names.iter().position(|known| *known == name.trim()).with_context(expected)?;
        anyhow::ensure!(!is_named[index], "--to {written:?} names {name} twice");
        is_named[index] = true;
        *places.into_iter().nth(index).expect("there are as many places as names") =
            number.trim().parse().ok().with_context(expected)?;
    }
    Ok(shape)
}

/// A grown checkpoint has a folder of its own: checkpoints, or a tokenizer, of another run stay what they are. Locked as long as the file is open.
fn check_is_free(out: &Path) -> Result<File, Failure> {
    let is_taken = !list_checkpoints(&out.join("checkpoints")).is_empty() || out.join(METRICS).exists();
    if is_taken {
        let what = "holds a run or checkpoints already: choose another --out";
        return Err(Failure::run_file(anyhow!("{} {what}", out.display())));
    }
    lock(out)
}

/// What generates needs the tokenizer beside the checkpoints.
fn copy_tokenizer(checkpoint: &Path, out: &Path) -> Result<(), Failure> {
    let checkpoint = checkpoint.canonicalize().map_err(|source| FileError::new("find", checkpoint, source))?;
    let Some(from) = checkpoint.parent().and_then(Path::parent).map(|run| run.join("tokenizer")) else { return Ok(()) };
    if !from.join(Manifest::NAME).is_file() {
        return Ok(());
    }
    let to = out.join("tokenizer");
    let manifests = [&from, &to].map(|folder| Manifest::read_with_hash(folder).map(|(_, hash)| hash).ok());
    if manifests[0] == manifests[1] {
        return Ok(());
    }
    if manifests[1].is_some() {
        let what = "holds another tokenizer: choose another --out";
        return Err(Failure::run_file(anyhow!("{} {what}", out.display())));
    }
    let copied = std::fs::create_dir_all(&to).and_then(|()| {
        // The manifest last, as everywhere.
        let mut names: Vec<_> = std::fs::read_dir(&from)?.collect::<Result<Vec<_>, _>>()?;
        names.sort_by_key(|entry| (entry.file_name() == Manifest::NAME, entry.file_name()));
        names.iter().try_for_each(|entry| std::fs::copy(entry.path(), to.join(entry.file_name())).map(drop))
    });
    copied.map_err(|source| FileError::new("copy the tokenizer to", &to, source).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_written_axis_by_axis() {
        let old = Shape { layers: 2, hidden: 16, heads: 2, head_size: 8, ffn: 64, vocabulary: 128, context: 32 };
        let wide = shape_to("hidden=32, heads=4", old).unwrap();
        assert_eq!(wide, Shape { hidden: 32, heads: 4, ..old });
        for (written, expected) in [
            ("hidden", "NAME=NUMBER"),
            ("width=3", "names are layers"),
            ("ffn=x", "NAME=NUMBER"),
            ("ffn=1,ffn=2", "twice"),
        ] {
            let error = shape_to(written, old).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
