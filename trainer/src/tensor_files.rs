//! Tensors in safetensors files, one at a time: a model may be larger than memory.
//!
//! Every tensor is stored with its global shape and the place of its slice, in the file's metadata. Slices of any number of files are put
//! together, so what one parallel layout wrote every other one can read.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use corpus::{AtomicFile, FileEntry, FileError};
use planner::Shape;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::checkpoint::CheckpointError;
use crate::parameters::{ParameterSpec, parameter_specs};

/// The metadata key of the slices.
const SLICES: &str = "moso.slices";

/// Values that are written or read at a time: 256 KiB.
const CHUNK: usize = 1 << 16;

#[derive(Clone, Serialize, Deserialize)]
struct Slice {
    shape: Vec<i64>,
    start: Vec<i64>,
}

/// Streams the tensors of a model, which `tensor` gives by their place in [`parameter_specs`], into a safetensors file: the header, then their
/// values in the order of their names.
pub(crate) fn write_tensors(
    folder: &Path,
    part: &str,
    shape: &Shape,
    tensor: &mut dyn FnMut(usize) -> Result<Tensor, CheckpointError>,
) -> Result<FileEntry, CheckpointError> {
    let name = format!("{part}-00000.safetensors");
    let specs = parameter_specs(shape);
    let mut named: Vec<(usize, &ParameterSpec)> = specs.iter().enumerate().collect();
    named.sort_by_key(|(_, spec)| &spec.name);
    let failed = |error: SafeTensorError| layout(&folder.join(&name), error.to_string());
    let header = header(&named, shape).map_err(failed)?;
    let mut file = AtomicFile::create(folder, &name)?;
    let at = file.path();
    let wrote = |result: io::Result<()>| result.map_err(|source| FileError::new("write", &at, source));
    wrote(file.write_all(&(header.len() as u64).to_le_bytes()).and_then(|()| file.write_all(&header)))?;
    let mut buffer = vec![0; CHUNK * size_of::<f32>()];
    for (index, spec) in named {
        let tensor = tensor(index)?;
        assert_eq!(tensor.size(), spec.size(shape), "{}", spec.name);
        wrote(write_values(&tensor, &mut buffer, &mut file))?;
    }
    Ok(file.finish(specs.len() as u64)?)
}

/// The JSON of a safetensors file, with the slices of all tensors, padded to a multiple of eight bytes.
fn header(named: &[(usize, &ParameterSpec)], shape: &Shape) -> Result<Vec<u8>, SafeTensorError> {
    let (mut slices, mut infos, mut start) = (BTreeMap::new(), Vec::new(), 0);
    for (_, spec) in named {
        let size = spec.size(shape);
        let axes: Vec<usize> = size.iter().map(|&axis| axis as usize).collect();
        let end = start + axes.iter().product::<usize>() * size_of::<f32>();
        infos.push((spec.name.clone(), TensorInfo { dtype: Dtype::F32, shape: axes, data_offsets: (start, end) }));
        slices.insert(&spec.name[..], Slice { start: vec![0; size.len()], shape: size });
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

/// The files that hold the tensors of a model, open.
pub(crate) struct TensorFiles {
    shape: Shape,
    files: Vec<(PathBuf, File)>,
    /// Slices of every tensor, by its name.
    slices: BTreeMap<String, Vec<Place>>,
}

/// Where a slice lies.
struct Place {
    file: usize,
    /// In bytes from the start of the file.
    offset: u64,
    slice: Slice,
    size: Vec<i64>,
}

impl TensorFiles {
    /// Opens files whose hashes were compared. Of their headers everything is checked.
    pub(crate) fn open(paths: &[PathBuf], shape: &Shape) -> Result<Self, CheckpointError> {
        let specs: BTreeMap<String, ParameterSpec> =
            parameter_specs(shape).into_iter().map(|spec| (spec.name.clone(), spec)).collect();
        let mut files = Self { shape: *shape, files: Vec::new(), slices: BTreeMap::new() };
        for path in paths {
            let file = File::open(path).map_err(|source| FileError::new("open", path, source))?;
            let (start, metadata) = read_header(path, &file)?;
            let damaged = |what: String| layout(path, what);
            let slices = read_slices(&metadata).map_err(damaged)?;
            for (name, info) in metadata.tensors() {
                let spec =
                    specs.get(&name).ok_or_else(|| damaged(format!("a model of {shape:?} has no tensor {name}")))?;
                let slice =
                    slices.get(&name).ok_or_else(|| damaged(format!("does not say which slice of {name} it holds")))?;
                let size =
                    checked_size(slice, info, &spec.size(shape)).map_err(|what| damaged(format!("{name} {what}")))?;
                let offset = start + info.data_offsets.0 as u64;
                let place = Place { file: files.files.len(), offset, slice: slice.clone(), size };
                files.slices.entry(name).or_default().push(place);
            }
            files.files.push((path.clone(), file));
        }
        Ok(files)
    }

    /// The tensor that `spec` describes, from all its slices.
    pub(crate) fn read(&self, spec: &ParameterSpec) -> Result<Tensor, CheckpointError> {
        let tensor = Tensor::empty(spec.size(&self.shape), (Kind::Float, Device::Cpu));
        let mut n_missing = tensor.numel();
        for Place { file, offset, slice, size } in self.slices.get(&spec.name).into_iter().flatten() {
            let mut place = tensor.shallow_clone();
            for (axis, (&start, &len)) in slice.start.iter().zip(size).enumerate() {
                place = place.narrow(axis as i64, start, len);
            }
            let (path, file) = &self.files[*file];
            read_values(file, *offset, size, &mut place).map_err(|source| FileError::new("read", path, source))?;
            n_missing = n_missing.saturating_sub(place.numel());
        }
        if n_missing > 0 {
            let path = self.files.first().map_or_else(PathBuf::new, |(path, _)| path.clone());
            return Err(layout(&path, format!("{} is not complete", spec.name)));
        }
        Ok(tensor)
    }
}

/// The header of a file, and where the values begin. The file must be as long as it says.
fn read_header(path: &Path, file: &File) -> Result<(u64, Metadata), CheckpointError> {
    let read = |bytes: &mut [u8], at: u64| {
        file.read_exact_at(bytes, at).map_err(|source| FileError::new("read the header of", path, source))
    };
    let length = file.metadata().map_err(|source| FileError::new("read", path, source))?.len();
    let mut header = vec![0; 8];
    read(&mut header, 0)?;
    let n_header = u64::from_le_bytes(header[..].try_into().expect("there are eight bytes"));
    if n_header > length.saturating_sub(8) {
        return Err(layout(path, "is shorter than its header".to_owned()));
    }
    header.resize(8 + n_header as usize, 0);
    read(&mut header[8..], 8)?;
    let metadata: Metadata =
        serde_json::from_slice(&header[8..]).map_err(|error| layout(path, format!("has a damaged header: {error}")))?;
    let end = metadata.tensors().values().map(|info| info.data_offsets.1 as u64).max().unwrap_or(0);
    let start = 8 + n_header;
    if start + end == length {
        Ok((start, metadata))
    } else {
        Err(layout(path, "is not as long as its header says".to_owned()))
    }
}

fn read_slices(metadata: &Metadata) -> Result<BTreeMap<String, Slice>, String> {
    let slices = metadata.metadata().as_ref().and_then(|metadata| metadata.get(SLICES));
    serde_json::from_str(slices.ok_or("is not a checkpoint of moso")?).map_err(|error| error.to_string())
}

/// The size of a slice that lies within a tensor of size `expected`.
fn checked_size(slice: &Slice, info: &TensorInfo, expected: &[i64]) -> Result<Vec<i64>, String> {
    if slice.shape != expected || info.dtype != Dtype::F32 {
        return Err(format!("is {:?} of {:?}, {expected:?} was expected", slice.shape, info.dtype));
    }
    let (begin, end) = info.data_offsets;
    let n_bytes = info.shape.iter().try_fold(size_of::<f32>(), |bytes, &axis| bytes.checked_mul(axis));
    if end.checked_sub(begin) != n_bytes {
        return Err("has another number of values than its shape".to_owned());
    }
    let size: Vec<i64> = info.shape.iter().map(|&axis| axis as i64).collect();
    let axes = slice.start.iter().zip(&size).zip(expected);
    let is_inside = slice.start.len() == expected.len()
        && size.len() == expected.len()
        && axes.into_iter().all(|((&start, &len), &whole)| start >= 0 && start + len <= whole);
    if is_inside { Ok(size) } else { Err("lies outside its tensor".to_owned()) }
}

/// Reads values of a slice of that size into its place, a few rows at a time.
fn read_values(file: &File, offset: u64, size: &[i64], place: &mut Tensor) -> io::Result<()> {
    let (n_rows, row) = (size[0], size[1..].iter().product::<i64>());
    let at_once = (CHUNK as i64 / row.max(1)).max(1);
    let mut bytes = Vec::new();
    for first in (0..n_rows).step_by(at_once as usize) {
        let n = at_once.min(n_rows - first);
        bytes.resize((n * row) as usize * size_of::<f32>(), 0);
        file.read_exact_at(&mut bytes, offset + (first * row) as u64 * size_of::<f32>() as u64)?;
        let part: Vec<i64> = std::iter::once(n).chain(size[1..].iter().copied()).collect();
        place.narrow(0, first, n).copy_(&Tensor::from_data_size(&bytes, &part, Kind::Float));
    }
    Ok(())
}

fn layout(path: &Path, what: String) -> CheckpointError {
    CheckpointError::Layout { path: path.to_owned(), what }
}
