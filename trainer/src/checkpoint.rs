//! Checkpoints: `checkpoints/step-N/` with safetensors shards of the fp32 weights and both Adam moments, `state.json`, and the
//! manifest last. A folder without a manifest is an interrupted attempt and is ignored.

use std::fs;
use std::path::{Path, PathBuf};

use corpus::{FileEntry, FileError, Hash, Manifest, ManifestError, Parent, Settings, StageFolder, write_atomically};
use planner::{Growth, MuP, Precision, Shape};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::{Device, Kind, Tensor};
use thiserror::Error;

use crate::growth::{GrowthStep, Part};
use crate::masks::Masks;
use crate::model::Model;
use crate::optimizer::OptimizerState;
use crate::parameters::parameter_specs;
use crate::stability::{Skipped, Window};
use crate::tensor_files::{TensorFiles, read_tensors, write_tensors};

/// Version of the folder's layout.
pub const CHECKPOINT_FORMAT: u32 = 3;

/// The three kinds of tensor files.
const PARTS: [&str; 3] = ["weights", "first-moment", "second-moment"];

/// The file of the state.
const STATE: &str = "state.json";

/// Everything a run needs to go on, less the tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunState {
    /// Index of the stage whose model this is.
    pub stage: usize,
    /// The stage's name.
    pub stage_name: String,
    /// Optimizer steps done.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// The loader's position: number of the next row.
    pub position: u64,
    /// Shape of the model.
    pub shape: Shape,
    /// muP of the run.
    pub mup: MuP,
    /// Those of the next step, where they are below 1.
    pub masks: Option<Masks>,
    /// Updates of the weights: steps that were not passed over.
    pub updates: u64,
    /// Losses and gradient norms that the next step is held against.
    pub window: Window,
    /// Steps that are passed over, by rising step: those that were, and those that will be after a rollback.
    pub skipped: Vec<Skipped>,
    /// Hash of the root seed.
    pub seed: u64,
    /// The run's training settings.
    pub settings: Settings,
    /// The packed rows and the tokenizer the run trains on.
    pub parents: Vec<Parent>,
}

/// A checkpoint in memory.
pub struct Checkpoint {
    /// Where the run stands.
    pub state: RunState,
    /// Weights, in the order of [`parameter_specs`].
    pub tensors: Vec<Tensor>,
    /// Moments and number of updates.
    pub optimizer: OptimizerState,
}

impl Checkpoint {
    /// The model in float32.
    pub fn model(&self) -> Model {
        Model::new(self.state.shape, self.state.mup, Precision::Float32, &self.tensors, self.state.masks.as_ref())
    }

    /// The same checkpoint over the same memory.
    pub(crate) fn shallow_clone(&self) -> Self {
        let same = |tensors: &[Tensor]| tensors.iter().map(Tensor::shallow_clone).collect();
        let OptimizerState { step, first, second } = &self.optimizer;
        let optimizer = OptimizerState { step: *step, first: same(first), second: same(second) };
        Self { state: self.state.clone(), tensors: same(&self.tensors), optimizer }
    }

    /// Where its tensors lie.
    pub fn device(&self) -> Device {
        self.tensors[0].device()
    }

    /// The same checkpoint with its tensors on `device`.
    #[must_use]
    pub fn to_device(self, device: Device) -> Self {
        let moved = |tensors: Vec<Tensor>| tensors.into_iter().map(|tensor| tensor.to_device(device)).collect();
        let OptimizerState { step, first, second } = self.optimizer;
        let optimizer = OptimizerState { step, first: moved(first), second: moved(second) };
        Self { state: self.state, tensors: moved(self.tensors), optimizer }
    }
}

/// A checkpoint that cannot be written or used.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file does not match its hash.
    #[error("{} does not match the hash in its manifest; where there is an earlier checkpoint, remove the folder of the damaged one to go on from that", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
    },
    /// A file is whole but holds something else.
    #[error("{}: {what}", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// What is not as it should be.
        what: String,
    },
}

/// The folder of the checkpoint after `step` steps.
pub fn checkpoint_folder(checkpoints: &Path, step: u64) -> PathBuf {
    checkpoints.join(format!("step-{step:08}"))
}

/// Steps of all whole checkpoints, rising.
pub fn list_checkpoints(checkpoints: &Path) -> Vec<u64> {
    let is_whole = |folder: &Path| folder.join(Manifest::NAME).is_file();
    step_folders(checkpoints).into_iter().filter(|(_, folder)| is_whole(folder)).map(|(step, _)| step).collect()
}

/// Folders of all checkpoints, whole or not, by rising step.
fn step_folders(checkpoints: &Path) -> Vec<(u64, PathBuf)> {
    let Ok(listing) = fs::read_dir(checkpoints) else { return Vec::new() };
    let step_of = |path: &Path| path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok();
    let folders = listing.flatten().map(|entry| entry.path());
    let mut folders: Vec<(u64, PathBuf)> = folders.filter_map(|path| Some((step_of(&path)?, path))).collect();
    folders.sort();
    folders
}

/// A copy of `checkpoint` in host memory that training does not touch. An earlier copy gives its memory where it has the same
/// tensors: fresh memory costs as much time as copying, since the system clears its pages first.
pub fn snapshot(checkpoint: &Checkpoint, earlier: Option<Checkpoint>) -> Checkpoint {
    let Checkpoint { state, tensors, optimizer } = checkpoint;
    let (mut old_tensors, mut old_first, mut old_second) = match earlier {
        Some(Checkpoint { tensors, optimizer, .. }) => (tensors, optimizer.first, optimizer.second),
        None => Default::default(),
    };
    let first = copies(&optimizer.first, &mut old_first);
    let second = copies(&optimizer.second, &mut old_second);
    let optimizer = OptimizerState { step: optimizer.step, first, second };
    Checkpoint { state: state.clone(), tensors: copies(tensors, &mut old_tensors), optimizer }
}

fn copies(tensors: &[Tensor], earlier: &mut Vec<Tensor>) -> Vec<Tensor> {
    let fits =
        tensors.len() == earlier.len() && tensors.iter().zip(&*earlier).all(|(new, old)| new.size() == old.size());
    if !fits {
        // Before new memory is taken, not after.
        earlier.clear();
        let empty = |tensor: &Tensor| Tensor::empty(tensor.size(), (Kind::Float, Device::Cpu));
        *earlier = tensors.iter().map(empty).collect();
    }
    tch::no_grad(|| earlier.iter_mut().zip(tensors).for_each(|(copy, tensor)| copy.copy_(&tensor.detach())));
    std::mem::take(earlier)
}

/// Writes a checkpoint. It counts from the moment its manifest is renamed into place.
pub fn save(checkpoints: &Path, checkpoint: &Checkpoint) -> Result<PathBuf, CheckpointError> {
    save_after(checkpoints, checkpoint, || Ok(())).map(|(path, _)| path)
}

/// Writes a checkpoint whose manifest is the last: behind all of its files, once these were read back and are what was written,
/// and behind `before_it_counts`. Also gives its size in bytes.
pub(crate) fn save_after(
    checkpoints: &Path,
    checkpoint: &Checkpoint,
    before_it_counts: impl FnOnce() -> Result<(), FileError>,
) -> Result<(PathBuf, u64), CheckpointError> {
    let Checkpoint { state, tensors, optimizer } = checkpoint;
    let parts = PARTS.into_iter().zip([tensors, &optimizer.first, &optimizer.second]);
    let write = |path: &Path| {
        let written = parts.map(|(part, tensors)| {
            write_tensors(path, part, &state.shape, &mut |index| Ok(tensors[index].shallow_clone()))
        });
        written.collect()
    };
    write_checkpoint(checkpoints, state, write, before_it_counts)
}

fn write_checkpoint(
    checkpoints: &Path,
    state: &RunState,
    write_parts: impl FnOnce(&Path) -> Result<Vec<FileEntry>, CheckpointError>,
    before_it_counts: impl FnOnce() -> Result<(), FileError>,
) -> Result<(PathBuf, u64), CheckpointError> {
    let path = checkpoint_folder(checkpoints, state.step);
    let folder = StageFolder::begin(&path)?;
    let mut files = write_parts(folder.path())?;
    let json = serde_json::to_vec_pretty(state).expect("a state has only string keys");
    files.push(write_atomically(folder.path(), STATE, &json, 1)?);
    for entry in &files {
        read_back(&folder.path().join(&entry.path), entry)?;
    }
    before_it_counts()?;
    let n_bytes = files.iter().map(|entry| entry.bytes).sum();
    Manifest::new("checkpoint", CHECKPOINT_FORMAT, &state.settings)
        .with_parents(state.parents.clone())
        .with_files(files)
        .commit(folder.path())?;
    sync_names(checkpoints)?;
    Ok((path, n_bytes))
}

/// Compares a file with its hash, as the disk has it: the system is asked to forget its own copy first, which is of no use to
/// anyone and would take the place of rows that are about to be read.
fn read_back(path: &Path, entry: &FileEntry) -> Result<(), CheckpointError> {
    let file = fs::File::open(path).map_err(|source| FileError::new("open", path, source))?;
    // Where a file system cannot do it, the copy in memory is what is compared.
    let forget = || rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).is_ok();
    forget();
    let is_same = corpus::hash_file(path)? == entry.blake3;
    forget();
    if is_same { Ok(()) } else { Err(CheckpointError::Hash { path: path.to_owned() }) }
}

/// The name of a new checkpoint must be on the disk before an old checkpoint goes.
fn sync_names(checkpoints: &Path) -> Result<(), FileError> {
    let synced = fs::File::open(checkpoints).and_then(|folder| folder.sync_all());
    synced.map_err(|source| FileError::new("flush the folder", checkpoints, source))
}

fn layout(folder: &Path, name: &str, what: impl Into<String>) -> CheckpointError {
    CheckpointError::Layout { path: folder.join(name), what: what.into() }
}

/// Reads a checkpoint, and compares every file with its hash.
pub fn load(folder: &Path) -> Result<Checkpoint, CheckpointError> {
    load_and_tell(folder, &mut |_| ())
}

/// The same, and tells what is being read: a slow disk may take long.
pub(crate) fn load_and_tell(folder: &Path, tell: &mut dyn FnMut(&Path)) -> Result<Checkpoint, CheckpointError> {
    let (manifest, state) = open(folder)?;
    let mut read = |part: &str| read_tensors(&files_of(folder, &manifest, part), &state.shape, tell);
    let [weights, first, second] = PARTS;
    let tensors = read(weights)?;
    let optimizer = OptimizerState { step: state.updates, first: read(first)?, second: read(second)? };
    Ok(Checkpoint { tensors, state, optimizer })
}

/// Reads a checkpoint without its moments, a third of it: enough for everything but training.
pub fn load_weights(folder: &Path) -> Result<Checkpoint, CheckpointError> {
    let (manifest, state) = open(folder)?;
    let tensors = read_tensors(&files_of(folder, &manifest, PARTS[0]), &state.shape, &mut |_| ())?;
    let optimizer = OptimizerState { step: state.updates, ..OptimizerState::default() };
    Ok(Checkpoint { tensors, state, optimizer })
}

/// The state of a checkpoint, without its tensors.
pub fn read_state(folder: &Path) -> Result<RunState, CheckpointError> {
    open(folder).map(|(_, state)| state)
}

/// The manifest and the state of a checkpoint; none of its tensors were looked at yet.
fn open(folder: &Path) -> Result<(Manifest, RunState), CheckpointError> {
    let manifest = Manifest::read(folder)?;
    if manifest.format != CHECKPOINT_FORMAT {
        let what = format!("is of format {}, this moso reads format {CHECKPOINT_FORMAT}", manifest.format);
        return Err(layout(folder, Manifest::NAME, what));
    }
    let [(path, hash)] = &files_of(folder, &manifest, STATE)[..] else {
        return Err(layout(folder, Manifest::NAME, format!("does not name one {STATE}")));
    };
    let json = fs::read(path).map_err(|source| FileError::new("read", path, source))?;
    if corpus::hash_bytes(&json) != *hash {
        return Err(CheckpointError::Hash { path: path.clone() });
    }
    let state = serde_json::from_slice(&json).map_err(|error| layout(folder, STATE, error.to_string()))?;
    Ok((manifest, state))
}

/// The files whose names begin so, with their hashes.
fn files_of(folder: &Path, manifest: &Manifest, part: &str) -> Vec<(PathBuf, Hash)> {
    let files = manifest.files.iter().filter(|entry| entry.path.starts_with(part));
    files.map(|entry| (folder.join(&entry.path), entry.blake3.clone())).collect()
}

/// Grows the checkpoint in `folder` by `step`, whose old shape is the checkpoint's, into a checkpoint in the folder `checkpoints`: tensor by
/// tensor, so that memory holds the largest one and little else. Gives the new folder. Its settings say under `grown` from what and how. Files are hashed first and then read again: new blocks
/// come from old ones in another order than that of the file.
pub fn grow_offline(folder: &Path, step: &GrowthStep, checkpoints: &Path) -> Result<PathBuf, CheckpointError> {
    let (manifest, mut state) = open(folder)?;
    let (_, hash) = Manifest::read_with_hash(folder)?;
    let open_part = |part: &str| {
        let files = files_of(folder, &manifest, part);
        for (path, hash) in &files {
            if corpus::hash_file(path)? != *hash {
                return Err(CheckpointError::Hash { path: path.clone() });
            }
        }
        TensorFiles::open(&files.into_iter().map(|(path, _)| path).collect::<Vec<_>>(), &state.shape)
    };
    let files = PARTS.into_iter().map(open_part).collect::<Result<Vec<_>, _>>()?;
    let (old, new) = (parameter_specs(&step.old), parameter_specs(&step.new));
    let Growth { depth, ramp_tokens, .. } = step.growth;
    state.shape = step.new;
    state.masks = (ramp_tokens > 0).then_some(Masks { from: step.old, depth, value: 0.0 });
    state.updates = step.updates(state.updates);
    if let Some(settings) = state.settings.0.as_object_mut() {
        let how = json!({ "checkpoint": hash, "shape": step.old, "growth": step.growth, "seed": step.seed.as_u64() });
        settings.insert("grown".to_owned(), how);
    }
    let parts = PARTS.into_iter().zip(&files).zip([Part::Weight, Part::FirstMoment, Part::SecondMoment]);
    let write = |path: &Path| {
        let written = parts.map(|((name, files), part)| {
            let mut grown = |index: usize| {
                let small = files.read(&old[step.source(index).0])?;
                Ok(step.grown(part, index, &new[index], &small))
            };
            write_tensors(path, name, &step.new, &mut grown)
        });
        written.collect()
    };
    write_checkpoint(checkpoints, &state, write, || Ok(())).map(|(path, _)| path)
}

/// Removes all checkpoints but those of `keep`, and what was left of interrupted attempts. The manifest goes first, so that a
/// half-removed one is never loaded.
pub(crate) fn remove_others(checkpoints: &Path, keep: &[u64]) -> Result<(), FileError> {
    for (step, folder) in step_folders(checkpoints) {
        if keep.contains(&step) {
            continue;
        }
        StageFolder::begin(&folder)?;
        fs::remove_dir_all(&folder).map_err(|source| FileError::new("remove", &folder, source))?;
    }
    Ok(())
}
