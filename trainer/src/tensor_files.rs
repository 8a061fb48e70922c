//! Tensors in safetensors files, one at a time: a model may be larger than memory.
//!
//! Every tensor is stored with its global shape and the place of its slice, in the file's metadata. Slices of any number of files are put
//! together, so what one parallel layout wrote every other one can read.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use corpus::{AtomicFile, FileEntry, FileError, Hash, HashingReader};
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

/// The limit of the format: a flipped bit must not ask for all memory.
const HEADER_BYTES_MAX: u64 = 100_000_000;

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

/// The slices of every tensor, by its name.
type Slices = BTreeMap<String, Vec<Place>>;

/// Where a slice lies.
struct Place {
    file: usize,
    /// In bytes from the start of the file.
    offset: u64,
    slice: Slice,
    size: Vec<i64>,
}

/// Reads all tensors of a model, in the order of [`parameter_specs`], from files with their hashes. Each is read once, and hashed on the way: what
/// is used is what was hashed. `tell` hears of the file before every slice.
pub(crate) fn read_tensors(
    files: &[(PathBuf, Hash)],
    shape: &Shape,
    tell: &mut dyn FnMut(&Path),
) -> Result<Vec<Tensor>, CheckpointError> {
    let specs = parameter_specs(shape);
    let tensors: Vec<Tensor> =
        specs.iter().map(|spec| Tensor::empty(spec.size(shape), (Kind::Float, Device::Cpu))).collect();
    let index: BTreeMap<&str, usize> = specs.iter().enumerate().map(|(index, spec)| (&spec.name[..], index)).collect();
    let mut slices = Slices::new();
    for (number, (path, hash)) in files.iter().enumerate() {
        tell(path);
        let (file, length) = open_file(path)?;
        let mut file = HashingReader::new(file);
        let mut read = || {
            for (name, place) in read_header(path, &mut file, length, shape)?.into_places(number) {
                tell(path);
                let read = read_values(&mut file, &place.size, &mut place.within(&tensors[index[&name[..]]]));
                read.map_err(|source| FileError::new("read", path, source))?;
                slices.entry(name).or_default().push(place);
            }
            Ok(())
        };
        let read: Result<(), CheckpointError> = read();
        // A damaged file is called that, whatever could not be made of it.
        io::copy(&mut file, &mut io::sink()).map_err(|source| FileError::new("read", path, source))?;
        if file.finish() != *hash {
            return Err(CheckpointError::Hash { path: path.clone() });
        }
        read?;
    }
    let paths: Vec<&Path> = files.iter().map(|(path, _)| path.as_path()).collect();
    check_slices(&slices, shape, &paths)?;
    Ok(tensors)
}

/// The files that hold the tensors of a model, open.
pub(crate) struct TensorFiles {
    shape: Shape,
    files: Vec<(PathBuf, File)>,
    slices: Slices,
}

impl TensorFiles {
    /// Opens files whose hashes were compared. Of their headers everything is checked.
    pub(crate) fn open(paths: &[PathBuf], shape: &Shape) -> Result<Self, CheckpointError> {
        let (mut files, mut slices) = (Vec::new(), Slices::new());
        for (number, path) in paths.iter().enumerate() {
            let (mut file, length) = open_file(path)?;
            for (name, place) in read_header(path, &mut file, length, shape)?.into_places(number) {
                slices.entry(name).or_default().push(place);
            }
            files.push((path.clone(), file));
        }
        check_slices(&slices, shape, &paths.iter().map(|path| path.as_path()).collect::<Vec<_>>())?;
        Ok(Self { shape: *shape, files, slices })
    }

    /// The tensor that `spec` describes, from all its slices.
    pub(crate) fn read(&self, spec: &ParameterSpec) -> Result<Tensor, CheckpointError> {
        let tensor = Tensor::empty(spec.size(&self.shape), (Kind::Float, Device::Cpu));
        for place in &self.slices[&spec.name] {
            let (path, mut file) = (&self.files[place.file].0, &self.files[place.file].1);
            let found = file.seek(SeekFrom::Start(place.offset));
            let read = found.and_then(|_| read_values(&mut file, &place.size, &mut place.within(&tensor)));
            read.map_err(|source| FileError::new("read", path, source))?;
        }
        Ok(tensor)
    }
}

impl Place {
    /// The part of the whole tensor that the slice is.
    fn within(&self, tensor: &Tensor) -> Tensor {
        let axes = self.slice.start.iter().zip(&self.size).enumerate();
        axes.fold(tensor.shallow_clone(), |part, (axis, (&start, &len))| part.narrow(axis as i64, start, len))
    }

    fn overlaps(&self, other: &Self) -> bool {
        let end = |place: &Self, axis: usize| place.slice.start[axis] + place.size[axis];
        (0..self.size.len())
            .all(|axis| self.slice.start[axis] < end(other, axis) && other.slice.start[axis] < end(self, axis))
    }
}

/// Every value of every tensor lies in one slice: no two have one in common, and together they have as many as the tensor.
fn check_slices(slices: &Slices, shape: &Shape, paths: &[&Path]) -> Result<(), CheckpointError> {
    for spec in parameter_specs(shape) {
        let places = slices.get(&spec.name).map_or(&[][..], |places| &places[..]);
        for (index, place) in places.iter().enumerate() {
            if let Some(other) = places[..index].iter().find(|other| place.overlaps(other)) {
                let what = format!("its slice of {} overlaps that of {}", spec.name, paths[other.file].display());
                return Err(layout(paths[place.file], what));
            }
        }
        let n_values: i64 = places.iter().map(|place| place.size.iter().product::<i64>()).sum();
        if n_values != spec.size(shape).iter().product::<i64>() {
            return Err(layout(paths.first().unwrap_or(&Path::new("")), format!("{} is not complete", spec.name)));
        }
    }
    Ok(())
}

fn open_file(path: &Path) -> Result<(File, u64), CheckpointError> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (length, file) = opened.map_err(|source| FileError::new("read", path, source))?;
    Ok((file, length))
}

/// What a file holds, in the order in which it lies there.
struct Header(Vec<(String, u64, Slice, Vec<i64>)>);

impl Header {
    fn into_places(self, file: usize) -> impl Iterator<Item = (String, Place)> {
        self.0.into_iter().map(move |(name, offset, slice, size)| (name, Place { file, offset, slice, size }))
    }
}

/// Reads a file up to its values. It must be as long as its header says, and hold slices of this model.
fn read_header(path: &Path, file: &mut impl Read, length: u64, shape: &Shape) -> Result<Header, CheckpointError> {
    let damaged = |what: String| layout(path, what);
    let mut read =
        |bytes: &mut [u8]| file.read_exact(bytes).map_err(|source| FileError::new("read the header of", path, source));
    let mut n_header = [0; 8];
    read(&mut n_header)?;
    let n_header = u64::from_le_bytes(n_header);
    if n_header > length.saturating_sub(8) || n_header > HEADER_BYTES_MAX {
        return Err(damaged("is shorter than its header".to_owned()));
    }
    let mut header = vec![0; n_header as usize];
    read(&mut header)?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| damaged(format!("has a damaged header: {error}")))?;
    let mut tensors: Vec<(String, &TensorInfo)> = metadata.tensors().into_iter().collect();
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let start = 8 + n_header;
    if start + tensors.last().map_or(0, |(_, info)| info.data_offsets.1 as u64) != length {
        return Err(damaged("is not as long as its header says".to_owned()));
    }
    let slices = read_slices(&metadata).map_err(damaged)?;
    let specs = parameter_specs(shape);
    let place_of = |(name, info): (String, &TensorInfo)| {
        let spec = specs.iter().find(|spec| spec.name == name);
        let spec = spec.ok_or_else(|| format!("a model of {shape:?} has no tensor {name}"))?;
        let slice = slices.get(&name).ok_or_else(|| format!("does not say which slice of {name} it holds"))?;
        let size = checked_size(slice, info, &spec.size(shape)).map_err(|what| format!("{name} {what}"))?;
        Ok((name, start + info.data_offsets.0 as u64, slice.clone(), size))
    };
    Ok(Header(tensors.into_iter().map(place_of).collect::<Result<_, String>>().map_err(damaged)?))
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
        && axes.into_iter().all(|((&start, &len), &whole)| start >= 0 && start <= whole - len);
    if is_inside { Ok(size) } else { Err("lies outside its tensor".to_owned()) }
}

/// Reads the values of a slice of that size, which come next, into its place, a few rows at a time.
fn read_values(file: &mut impl Read, size: &[i64], place: &mut Tensor) -> io::Result<()> {
    let (n_rows, row) = (size[0], size[1..].iter().product::<i64>());
    let at_once = (CHUNK as i64 / row.max(1)).max(1);
    let mut bytes = Vec::new();
    for first in (0..n_rows).step_by(at_once as usize) {
        let n = at_once.min(n_rows - first);
        bytes.resize((n * row) as usize * size_of::<f32>(), 0);
        file.read_exact(&mut bytes)?;
        let part: Vec<i64> = std::iter::once(n).chain(size[1..].iter().copied()).collect();
        place.narrow(0, first, n).copy_(&Tensor::from_data_size(&bytes, &part, Kind::Float));
    }
    Ok(())
}

fn layout(path: &Path, what: String) -> CheckpointError {
    CheckpointError::Layout { path: path.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use corpus::Seed;
    use planner::MuP;
    use safetensors::tensor::TensorView;

    use super::*;
    use crate::parameters::initial_tensors;

    const SHAPE: Shape = Shape { layers: 1, hidden: 16, heads: 2, head_size: 8, ffn: 24, vocabulary: 32, context: 8 };

    /// A slice of a tensor: its name, where it begins, and the values.
    type Cut = (String, Vec<i64>, Tensor);

    fn tensors() -> Vec<Tensor> {
        let mup = MuP { base_width: 16, input_multiplier: 1.0, output_multiplier: 1.0, init_std: 0.1 };
        initial_tensors(&SHAPE, &mup, &Seed::root(1))
    }

    /// Every tensor cut at a third of every axis, the part `(i, j)` into file 2 i + j: as two by two processes would write it.
    fn cut_by_four() -> [Vec<Cut>; 4] {
        let mut files = [(); 4].map(|()| Vec::new());
        for (spec, tensor) in parameter_specs(&SHAPE).into_iter().zip(tensors()) {
            let parts = |axis: i64| {
                let size = tensor.size().get(axis as usize).copied().unwrap_or(1);
                [(0, size / 3), (size / 3, size - size / 3)]
            };
            for (i, (row, n_rows)) in parts(0).into_iter().enumerate() {
                let rows = tensor.narrow(0, row, n_rows);
                if tensor.dim() == 1 {
                    files[2 * i].push((spec.name.clone(), vec![row], rows));
                    continue;
                }
                for (j, (column, n_columns)) in parts(1).into_iter().enumerate() {
                    files[2 * i + j].push((spec.name.clone(), vec![row, column], rows.narrow(1, column, n_columns)));
                }
            }
        }
        files
    }

    /// Writes files by the format's own library.
    fn write(folder: &Path, files: &[Vec<Cut>]) -> Vec<(PathBuf, Hash)> {
        let whole: BTreeMap<String, Vec<i64>> =
            parameter_specs(&SHAPE).into_iter().map(|spec| (spec.name.clone(), spec.size(&SHAPE))).collect();
        let write = |(number, cuts): (usize, &Vec<Cut>)| {
            let path = folder.join(format!("weights-{number:05}.safetensors"));
            let slice =
                |(name, start, _): &Cut| (name.clone(), Slice { shape: whole[name].clone(), start: start.clone() });
            let slices: BTreeMap<String, Slice> = cuts.iter().map(slice).collect();
            let bytes = cuts.iter().map(|(_, _, values)| {
                let values = Vec::<f32>::try_from(values.contiguous().view([-1])).unwrap();
                values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>()
            });
            let bytes: Vec<Vec<u8>> = bytes.collect();
            let views = cuts.iter().zip(&bytes).map(|((name, _, values), bytes)| {
                let size = values.size().into_iter().map(|axis| axis as usize).collect();
                (name, TensorView::new(Dtype::F32, size, bytes).unwrap())
            });
            let metadata = HashMap::from([(SLICES.to_owned(), serde_json::to_string(&slices).unwrap())]);
            std::fs::write(&path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
            let hash = corpus::hash_file(&path).unwrap();
            (path, hash)
        };
        files.iter().enumerate().map(write).collect()
    }

    fn read_back(files: &[Vec<Cut>]) -> Result<Vec<Tensor>, String> {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path(), files);
        let streamed = read_tensors(&files, &SHAPE, &mut |_| ()).map_err(|error| error.to_string());
        let paths: Vec<PathBuf> = files.into_iter().map(|(path, _)| path).collect();
        let one_by_one = TensorFiles::open(&paths, &SHAPE)
            .map_err(|error| error.to_string())
            .map(|files| parameter_specs(&SHAPE).iter().map(|spec| files.read(spec).unwrap()).collect::<Vec<Tensor>>());
        match (&streamed, &one_by_one) {
            (Ok(streamed), Ok(one_by_one)) => {
                assert!(streamed.iter().zip(one_by_one).all(|(one, other)| one.equal(other)));
            }
            (streamed, one_by_one) => assert_eq!(streamed.as_ref().err(), one_by_one.as_ref().err()),
        }
        streamed
    }

    #[test]
    fn what_another_layout_wrote_is_read_back() {
        let found = read_back(&cut_by_four()).unwrap();
        assert!(found.iter().zip(tensors()).all(|(found, expected)| found.equal(&expected)));
    }

    #[test]
    fn slices_that_overlap_leave_a_hole_or_do_not_fit_are_refused() {
        let refused = |change: &dyn Fn(&mut [Vec<Cut>; 4]), expected: &str| {
            let mut files = cut_by_four();
            change(&mut files);
            let error = read_back(&files).unwrap_err();
            assert!(error.contains(expected), "{expected} is not in {error}");
        };
        // As many values as the tensor has, and one of them twice.
        refused(&|files| files[3][0].1[0] -= 1, "weights-00003.safetensors: its slice of embedding overlaps that of");
        refused(&|files| drop(files[3].remove(0)), "embedding is not complete");
        refused(&|files| files[0].retain(|cut| cut.0 != "final_norm.gain"), "final_norm.gain is not complete");
        refused(&|files| files[3][0].1[0] += 1, "embedding lies outside its tensor");
        refused(&|files| files[3][0].1[0] = i64::MAX, "embedding lies outside its tensor");
        refused(&|files| files[3][0].1.push(0), "embedding lies outside its tensor");
        refused(&|files| files[3][0].2 = files[3][0].2.flatten(0, 1), "embedding lies outside its tensor");
    }

    /// A flipped bit is told as that wherever it lies, in the header too.
    #[test]
    fn a_damaged_file_is_called_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path(), &cut_by_four());
        let whole = std::fs::read(&files[1].0).unwrap();
        for place in [0, 4, 9, 40, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[place] ^= 16;
            std::fs::write(&files[1].0, bytes).unwrap();
            let error = read_tensors(&files, &SHAPE, &mut |_| ()).unwrap_err();
            assert!(matches!(&error, CheckpointError::Hash { path } if *path == files[1].0), "byte {place}: {error}");
        }
    }
}
