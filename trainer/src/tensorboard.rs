//! Event files as TensorBoard reads them, in `OUT/tensorboard/`.
//!
//! A file is a sequence of records: length (u64, little-endian), its masked CRC-32C, the record, its masked CRC-32C. A record is a
//! protobuf `Event`: 1 wall time (double), 2 step (int64), and one of 3 version (string), 5 `Summary`, 7 `SessionLog`. A `Summary` has
//! values (1), each a tag (1, string) and a float (2). Formats: tensorflow/core/lib/io/record_writer.h and core/util/event.proto.
//!
//! Every start of a run begins a new file, which says from which step on it tells: TensorBoard then forgets what earlier files say about
//! that step and later ones. It reads files in the order of their names, so they are numbered, and need no clock.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use corpus::FileError;

use crate::metrics::Event;

/// The folder in the run's folder.
const FOLDER: &str = "tensorboard";

/// What a file begins with.
const VERSION: &[u8] = b"brain.Event:2";

/// Event files while the run goes on.
pub(crate) struct TensorBoard {
    path: PathBuf,
    file: File,
    /// Seconds since 1970 when `clock` was started.
    start: f64,
    clock: Instant,
}

impl TensorBoard {
    /// Begins a new file for the steps after `step`. `start` is now in seconds since 1970.
    pub(crate) fn open(out: &Path, step: u64, start: f64) -> Result<Self, FileError> {
        let folder = out.join(FOLDER);
        fs::create_dir_all(&folder).map_err(|source| FileError::new("create the folder", &folder, source))?;
        let path = folder.join(format!("events.out.tfevents.{:010}.moso", next_number(&folder)));
        let file = File::create_new(&path).map_err(|source| FileError::new("create", &path, source))?;
        let mut board = Self { path, file, start, clock: Instant::now() };
        board.event(0, 3, VERSION)?;
        board.event(step + 1, 7, &session_start())?;
        Ok(board)
    }

    /// The same folder after the run went back to `step`.
    pub(crate) fn go_back(&self, out: &Path, step: u64) -> Result<Self, FileError> {
        Self::open(out, step, self.start + self.clock.elapsed().as_secs_f64())
    }

    /// Writes what can be drawn of an event.
    pub(crate) fn write(&mut self, event: &Event) -> Result<(), FileError> {
        let (step, scalars) = scalars(event);
        if scalars.is_empty() {
            return Ok(());
        }
        self.event(step, 5, &summary(&scalars))
    }

    fn event(&mut self, step: u64, field: u32, content: &[u8]) -> Result<(), FileError> {
        let event = event(self.start + self.clock.elapsed().as_secs_f64(), step, field, content);
        self.file.write_all(&record(&event)).map_err(|source| FileError::new("write", &self.path, source))
    }
}

/// An event at a time in seconds since 1970.
fn event(time: f64, step: u64, field: u32, content: &[u8]) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend_from_slice(&time.to_le_bytes());
    // A zero is what a reader takes for a field that is not there.
    if step > 0 {
        put_varint_field(&mut event, 2, step);
    }
    put_bytes(&mut event, field, content);
    event
}

fn summary(scalars: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let mut scalar = Vec::new();
        put_bytes(&mut scalar, 1, tag.as_bytes());
        scalar.push(2 << 3 | 5);
        scalar.extend_from_slice(&(*value as f32).to_le_bytes());
        put_bytes(&mut summary, 1, &scalar);
    }
    summary
}

/// What was said before about this step and later ones is void: SessionLog { status: START }.
fn session_start() -> Vec<u8> {
    let mut session = Vec::new();
    put_varint_field(&mut session, 1, 1);
    session
}

/// One more than the highest number there is.
fn next_number(folder: &Path) -> u64 {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let number = |name: std::ffi::OsString| {
        let name = name.into_string().ok()?;
        name.strip_prefix("events.out.tfevents.")?.strip_suffix(".moso")?.parse::<u64>().ok()
    };
    names.filter_map(number).max().map_or(0, |number| number + 1)
}

fn scalars(event: &Event) -> (u64, Vec<(String, f64)>) {
    match event {
        Event::Step {
            step,
            loss,
            loss_by,
            grad_norm,
            lr,
            mask,
            tokens_per_s,
            model_flops_per_s,
            share_of_peak,
            ..
        } => {
            let values = [
                ("loss", loss),
                ("grad_norm", grad_norm),
                ("lr", lr),
                ("mask", mask),
                ("tokens_per_s", tokens_per_s),
                ("model_flops_per_s", model_flops_per_s),
                ("share_of_peak", share_of_peak),
            ];
            let mut scalars: Vec<_> = values.into_iter().map(|(tag, value)| (tag.to_owned(), *value)).collect();
            let by = [("language", &loss_by.language), ("source", &loss_by.source), ("kind", &loss_by.kind)];
            for (key, losses) in by {
                scalars.extend(losses.iter().map(|(name, loss)| (format!("loss_by/{key}/{name}"), *loss)));
            }
            (*step, scalars)
        }
        Event::Validation { step, lang, loss, bits_per_byte, .. } => {
            let values = [("loss", loss), ("bits_per_byte", bits_per_byte)];
            let tag = |name: &str| format!("validation/{name}/{lang}");
            (*step, values.into_iter().map(|(name, value)| (tag(name), *value)).collect())
        }
        _ => (0, Vec::new()),
    }
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn put_varint_field(bytes: &mut Vec<u8>, field: u32, value: u64) {
    put_varint(bytes, u64::from(field << 3));
    put_varint(bytes, value);
}

fn put_bytes(bytes: &mut Vec<u8>, field: u32, content: &[u8]) {
    put_varint(bytes, u64::from(field << 3 | 2));
    put_varint(bytes, content.len() as u64);
    bytes.extend_from_slice(content);
}

fn record(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    let masked = |bytes: &[u8]| crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes();
    [&length[..], &masked(&length), content, &masked(content)].concat()
}

/// CRC-32C (Castagnoli), bit by bit: a few hundred bytes a step.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What an independent reader needs to know of a record: its step, and its scalars, version or session start.
    #[derive(Debug, PartialEq)]
    pub(crate) enum Record {
        Version(String),
        Start(u64),
        Scalars(u64, Vec<(String, f32)>),
    }

    /// CRC-32C by the polynomial's definition: the remainder of the message, bit-reversed, divided over GF(2).
    fn slow_crc32c(bytes: &[u8]) -> u32 {
        let bits = bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1)).chain([0; 32]);
        let mut remainder = 0_u32;
        for (index, bit) in bits.enumerate() {
            // The initial value of all ones is added to the first 32 bits.
            let bit = u32::from(bit) ^ u32::from(index < 32);
            let carry = remainder >> 31;
            remainder = remainder << 1 | bit;
            remainder ^= if carry == 1 { 0x1EDC_6F41 } else { 0 };
        }
        !remainder.reverse_bits()
    }

    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (&byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    /// Fields of a message: number and content (of a varint its eight bytes).
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let n = match key & 7 {
                0 => {
                    fields.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                5 => 4,
                2 => varint(&mut bytes) as usize,
                other => panic!("wire type {other}"),
            };
            fields.push((key >> 3, bytes[..n].to_vec()));
            bytes = &bytes[n..];
        }
        fields
    }

    /// Reads a file, checking every sum.
    pub(crate) fn read(path: &Path) -> Vec<Record> {
        let bytes = fs::read(path).unwrap();
        let (mut rest, mut records) = (&bytes[..], Vec::new());
        let check = |content: &[u8], sum: &[u8]| {
            let masked = u32::from_le_bytes(sum.try_into().unwrap());
            assert_eq!(masked.wrapping_sub(0xA282_EAD8).rotate_left(15), slow_crc32c(content));
        };
        while !rest.is_empty() {
            check(&rest[..8], &rest[8..12]);
            let n = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            check(&rest[12..12 + n], &rest[12 + n..16 + n]);
            records.push(parse(&rest[12..12 + n]));
            rest = &rest[16 + n..];
        }
        records
    }

    fn parse(event: &[u8]) -> Record {
        let event = fields(event);
        let find = |number: u64| event.iter().find(|field| field.0 == number).map(|field| &field.1[..]);
        let step = find(2).map_or(0, |step| u64::from_le_bytes(step.try_into().unwrap()));
        if let Some(version) = find(3) {
            return Record::Version(String::from_utf8(version.to_vec()).unwrap());
        }
        if let Some(session) = find(7) {
            assert_eq!(fields(session), [(1, 1_u64.to_le_bytes().to_vec())]);
            return Record::Start(step);
        }
        let values = fields(find(5).unwrap()).into_iter().map(|(_, value)| {
            let value = fields(&value);
            let number = f32::from_le_bytes(value[1].1[..].try_into().unwrap());
            (String::from_utf8(value[0].1.clone()).unwrap(), number)
        });
        Record::Scalars(step, values.collect())
    }

    fn validation(step: u64, loss: f64) -> Event {
        Event::Validation {
            step,
            stage: "a".to_owned(),
            tokens: 1,
            lang: "en".to_owned(),
            loss,
            bits_per_byte: 0.5,
            unigram_entropy: 1.0,
            n_targets: 1,
        }
    }

    #[test]
    fn what_was_written_is_read_back_and_a_new_start_is_a_new_file() {
        let root = tempfile::tempdir().unwrap();
        let mut board = TensorBoard::open(root.path(), 0, 1e9).unwrap();
        board.write(&validation(300, 4.25)).unwrap();
        let mut board = board.go_back(root.path(), 200).unwrap();
        board.write(&validation(201, 4.0)).unwrap();
        let scalars = |step, loss| {
            let tags = [("validation/loss/en".to_owned(), loss), ("validation/bits_per_byte/en".to_owned(), 0.5)];
            Record::Scalars(step, tags.to_vec())
        };
        let file = |number: u32| root.path().join(format!("tensorboard/events.out.tfevents.000000000{number}.moso"));
        let version = || Record::Version("brain.Event:2".to_owned());
        assert_eq!(read(&file(0)), [version(), Record::Start(1), scalars(300, 4.25)]);
        assert_eq!(read(&file(1)), [version(), Record::Start(201), scalars(201, 4.0)]);
    }

    /// What TensorBoard's own writer makes of the same events, written by `tensorboard/fixture.py`.
    #[test]
    fn files_are_those_of_tensorboard() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tensorboard");
        let expected = fs::read(folder.join("events.tfevents")).unwrap();
        let (step, scalars) = scalars(&validation(300, 4.2));
        let events =
            [event(1e9, 0, 3, VERSION), event(1e9, step, 7, &session_start()), event(1e9, step, 5, &summary(&scalars))];
        assert_eq!(events.map(|event| record(&event)).concat(), expected);
    }

    /// Check values of RFC 3720, appendix B.4.
    #[test]
    fn sums_are_castagnolis() {
        for (bytes, sum) in [(&[0_u8; 32][..], 0x8A91_36AA), (&[0xFF; 32], 0x62A8_AB43), (b"123456789", 0xE306_9283)] {
            assert_eq!((crc32c(bytes), slow_crc32c(bytes)), (sum, sum));
        }
    }
}
