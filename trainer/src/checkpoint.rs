//! Checkpoints: `checkpoints/step-N/` with safetensors shards of the fp32 weights and both Adam moments, `state.json`, and the
//! manifest last. A folder without a manifest is an interrupted attempt and is ignored.
//!
//! Every tensor is stored with its global shape and the place of its slice, in the file's metadata: a loader puts the
//! slices of any number of files together, so a checkpoint can be read by any parallel layout.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use corpus::{
    AtomicFile, FileEntry, FileError, Manifest, ManifestError, Parent, Settings, StageFolder, write_atomically,
};
use planner::{MuP, Precision, Shape};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo, TensorView};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use thiserror::Error;

use crate::gradients::MaskSettings;
use crate::model::{Masks, Model};
use crate::optimizer::OptimizerState;
use crate::parameters::parameter_specs;
use crate::stability::{Skipped, Window};

/// Version of the folder's layout.
pub const CHECKPOINT_FORMAT: u32 = 2;

/// The metadata key of the slices.
const SLICES: &str = "moso.slices";

/// Values that are written at a time: 256 KiB.
const CHUNK: usize = 1 << 16;

/// The three kinds of tensor files.
const PARTS: [&str; 3] = ["weights", "first-moment", "second-moment"];

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
    /// Where masks are below 1: the shape before growth, and the mask of the next step.
    pub masks: Option<MaskState>,
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

/// A growth step whose masks have not reached 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskState {
    /// Shape before growth.
    pub from: Shape,
    /// Mask of new coordinates at the next step.
    pub value: f64,
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
        Model::new(self.state.shape, self.state.mup, Precision::Float32, &self.tensors)
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

    /// The shape before growth and the mask of new coordinates, where they still ramp.
    pub fn mask_settings(&self) -> MaskSettings {
        self.state.masks.map(|masks| (masks.from, masks.value))
    }

    /// Masks for [`Model::hidden`], where there are any.
    pub fn masks(&self) -> Option<Masks> {
        self.mask_settings().map(|(old, c)| Masks::new(&old, &self.state.shape, c, self.device()))
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
    #[error("{} does not match the hash in its manifest; remove the folder to go on from the checkpoint before it", path.display())]
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
    let path = checkpoint_folder(checkpoints, checkpoint.state.step);
    let folder = StageFolder::begin(&path)?;
    let Checkpoint { state, tensors, optimizer } = checkpoint;
    let mut files = Vec::new();
    for (part, tensors) in PARTS.into_iter().zip([tensors, &optimizer.first, &optimizer.second]) {
        files.push(save_tensors(folder.path(), part, &state.shape, tensors)?);
    }
    let json = serde_json::to_vec_pretty(state).expect("a state has only string keys");
    files.push(write_atomically(folder.path(), "state.json", &json, 1)?);
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

#[derive(Serialize, Deserialize)]
struct Slice {
    shape: Vec<i64>,
    start: Vec<i64>,
}

/// Streams tensors into a safetensors file: the header, then their values in the order of their names.
fn save_tensors(folder: &Path, part: &str, shape: &Shape, tensors: &[Tensor]) -> Result<FileEntry, CheckpointError> {
    let name = format!("{part}-00000.safetensors");
    let specs = parameter_specs(shape);
    let mut named: Vec<(&str, &Tensor)> = specs.iter().map(|spec| &spec.name[..]).zip(tensors).collect();
    named.sort_by_key(|(name, _)| *name);
    let header = header(&named).map_err(|error| layout(folder, &name, error.to_string()))?;
    let mut file = AtomicFile::create(folder, &name)?;
    let mut wrote = file.write_all(&(header.len() as u64).to_le_bytes()).and_then(|()| file.write_all(&header));
    let mut buffer = vec![0; CHUNK * size_of::<f32>()];
    for (_, tensor) in named {
        wrote = wrote.and_then(|()| write_values(tensor, &mut buffer, &mut file));
    }
    wrote.map_err(|source| FileError::new("write", &file.path(), source))?;
    Ok(file.finish(tensors.len() as u64)?)
}

/// The JSON of a safetensors file, with the slices of all tensors, padded to a multiple of eight bytes.
fn header(named: &[(&str, &Tensor)]) -> Result<Vec<u8>, SafeTensorError> {
    let (mut slices, mut infos, mut start) = (BTreeMap::new(), Vec::new(), 0);
    for (name, tensor) in named {
        let size = tensor.size();
        let end = start + tensor.numel() * size_of::<f32>();
        let shape = size.iter().map(|&axis| axis as usize).collect();
        infos.push(((*name).to_owned(), TensorInfo { dtype: Dtype::F32, shape, data_offsets: (start, end) }));
        slices.insert(*name, Slice { start: vec![0; size.len()], shape: size });
        start = end;
    }
    let slices = serde_json::to_string(&slices).expect("slices have string keys");
    let metadata = Metadata::new(Some(HashMap::from([(SLICES.to_owned(), slices)])), infos)?;
    let mut header = serde_json::to_vec(&metadata).expect("a header has string keys");
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// Values leave the tensor through a buffer that stays in the processor's cache, where they are hashed and handed to the system.
fn write_values(tensor: &Tensor, buffer: &mut [u8], file: &mut AtomicFile) -> io::Result<()> {
    let flat = tensor.detach().contiguous().view([-1]);
    let n_values = flat.numel();
    for start in (0..n_values).step_by(CHUNK) {
        let n = CHUNK.min(n_values - start);
        let bytes = &mut buffer[..n * size_of::<f32>()];
        flat.narrow(0, start as i64, n as i64).copy_data_u8(bytes, n);
        file.write_all(bytes)?;
    }
    Ok(())
}

fn layout(folder: &Path, name: &str, what: impl Into<String>) -> CheckpointError {
    CheckpointError::Layout { path: folder.join(name), what: what.into() }
}

/// Reads a checkpoint after checking every file's hash.
pub fn load(folder: &Path) -> Result<Checkpoint, CheckpointError> {
    let manifest = Manifest::read(folder)?;
    if manifest.format != CHECKPOINT_FORMAT {
        let what = format!("is of format {}, this moso reads format {CHECKPOINT_FORMAT}", manifest.format);
        return Err(layout(folder, Manifest::NAME, what));
    }
    for entry in &manifest.files {
        let path = folder.join(&entry.path);
        if corpus::hash_file(&path)? != entry.blake3 {
            return Err(CheckpointError::Hash { path });
        }
    }
    let path = folder.join("state.json");
    let json = fs::read(&path).map_err(|source| FileError::new("read", &path, source))?;
    let state: RunState =
        serde_json::from_slice(&json).map_err(|error| layout(folder, "state.json", error.to_string()))?;
    let mut parts = Vec::new();
    for part in PARTS {
        let belongs = |entry: &&FileEntry| entry.path.starts_with(part);
        let paths: Vec<PathBuf> = manifest.files.iter().filter(belongs).map(|entry| folder.join(&entry.path)).collect();
        parts.push(load_tensors(folder, part, &paths, &state.shape)?);
    }
    let [tensors, first, second]: [Vec<Tensor>; 3] = parts.try_into().expect("there are three parts");
    let optimizer = OptimizerState { step: state.updates, first, second };
    Ok(Checkpoint { state, tensors, optimizer })
}

/// Puts the slices of all files together and checks that they fill every tensor of the shape exactly.
fn load_tensors(folder: &Path, part: &str, paths: &[PathBuf], shape: &Shape) -> Result<Vec<Tensor>, CheckpointError> {
    let specs = parameter_specs(shape);
    let mut tensors: Vec<Tensor> =
        specs.iter().map(|spec| Tensor::zeros(spec.size(shape), (Kind::Float, Device::Cpu))).collect();
    let mut n_missing: Vec<usize> = tensors.iter().map(Tensor::numel).collect();
    let index_of: BTreeMap<&str, usize> =
        specs.iter().enumerate().map(|(index, spec)| (&spec.name[..], index)).collect();
    for path in paths {
        let damaged = |what: String| CheckpointError::Layout { path: path.clone(), what };
        let bytes = fs::read(path).map_err(|source| FileError::new("read", path, source))?;
        let slices = read_slices(&bytes).map_err(damaged)?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
        for (name, view) in file.tensors() {
            let index = *index_of
                .get(&name[..])
                .ok_or_else(|| damaged(format!("a model of {shape:?} has no tensor {name}")))?;
            let slice =
                slices.get(&name).ok_or_else(|| damaged(format!("does not say which slice of {name} it holds")))?;
            let found =
                place_slice(&mut tensors[index], slice, &view).map_err(|what| damaged(format!("{name} {what}")))?;
            n_missing[index] = n_missing[index].saturating_sub(found);
        }
    }
    match n_missing.iter().position(|&missing| missing > 0) {
        Some(index) => Err(layout(folder, part, format!("{} is not complete", specs[index].name))),
        None => Ok(tensors),
    }
}

fn read_slices(bytes: &[u8]) -> Result<BTreeMap<String, Slice>, String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let slices = metadata.metadata().as_ref().and_then(|metadata| metadata.get(SLICES));
    serde_json::from_str(slices.ok_or("is not a checkpoint of moso")?).map_err(|error| error.to_string())
}

fn place_slice(tensor: &mut Tensor, slice: &Slice, view: &TensorView<'_>) -> Result<usize, String> {
    if slice.shape != tensor.size() || view.dtype() != Dtype::F32 {
        return Err(format!("is {:?} of {:?}, {:?} was expected", slice.shape, view.dtype(), tensor.size()));
    }
    let size: Vec<i64> = view.shape().iter().map(|&axis| axis as i64).collect();
    let mut place = tensor.shallow_clone();
    for (axis, (&start, &len)) in slice.start.iter().zip(&size).enumerate() {
        if start < 0 || start + len > slice.shape[axis] {
            return Err("lies outside its tensor".to_owned());
        }
        place = place.narrow(axis as i64, start, len);
    }
    place.copy_(&Tensor::from_data_size(view.data(), &size, Kind::Float));
    Ok(place.numel())
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
