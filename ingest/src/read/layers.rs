//! Compression layers: a file as the bytes inside its gzip members, Zstandard frames or bzip2 streams.
//!
//! Members are either joined, as if the file were one stream, or handed out one at a time: a crawl archive has one for
//! each record, so that damage ends with its member and reading goes on with the next, which [`Members::find_next`]
//! looks for. A file that unpacks to more than the limit says (a decompression bomb) stops there. Memory: two buffers
//! and the decoder's window, which for Zstandard is as wide as the file asks for, up to a limit.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::mem;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;

use super::ReadLimits;
use super::files::Origin;

const BUFFER_BYTES: usize = 1 << 18;

/// The widest window there is (`zstd --long=31`), and the narrowest that a decoder can be held to.
const ZSTD_WINDOW_LOGS: RangeInclusive<u32> = 10..=31;

/// What the library says of a frame with a wider window.
const ZSTD_WINDOW_ERROR: &str = "requires too much memory";

/// A file may unpack to so much whatever its size: short files are often one character repeated.
pub(super) const EXPANSION_GRACE: u64 = 16 << 20;

/// How much of a possible member is unpacked to see whether it begins as a record does.
const PROBE_BYTES: u64 = 4096;

/// Reading again what a damaged member seemed to hold may cost so many times the file, then the rest is given up.
const REREAD_MAX: u64 = 4;
const REREAD_GRACE: u64 = 1 << 20;

const GZIP_MAGIC: [u8; 3] = [0x1F, 0x8B, 8];
const ZSTANDARD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
const BZIP2_MAGIC: [u8; 3] = *b"BZh";

/// The bytes of a file as they lie on the disk, counted once however often they are read.
pub(super) struct Raw {
    origin: Origin,
    offset: u64,
    n_counted: u64,
    n_bytes_read: Arc<AtomicU64>,
}

type Input = BufReader<Raw>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Plain,
    Gzip,
    Zstandard,
    Bzip2,
}

enum Decoder {
    Plain(Input),
    Gzip(Box<GzDecoder<Input>>),
    Zstandard(Box<zstd::Decoder<'static, Input>>),
    Bzip2(Box<BzDecoder<Input>>),
    /// Between two members.
    None(Input),
    /// Only while a method runs.
    Taken,
}

/// What became of the bytes that were to be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// The disk failed: nothing the data can be blamed for.
    Disk(io::Error),
    /// The data is damaged, in words that follow the name of a place.
    Damaged(String),
    /// The rest of the file is not worth reading.
    Hopeless(String),
}

/// A file, unpacked.
pub(super) struct Members {
    decoder: Decoder,
    compression: Compression,
    is_joined: bool,
    /// Where the open member begins.
    start: u64,
    n_members: u64,
    n_unpacked: u64,
    n_reread: u64,
    n_bytes: u64,
    limits: ReadLimits,
}

impl Members {
    /// Opens a file. The name's ending tells the compression, or where it says nothing, the first bytes do. `is_joined`
    /// hides where one member ends and the next begins; otherwise the first one is entered with
    /// [`Members::next_member`].
    pub(super) fn open(
        origin: Origin,
        name: &str,
        is_joined: bool,
        limits: &ReadLimits,
        n_bytes_read: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let mut raw = Raw { origin, offset: 0, n_counted: 0, n_bytes_read };
        let n_bytes = raw.seek(SeekFrom::End(0))?;
        raw.seek(SeekFrom::Start(0))?;
        let mut input = BufReader::with_capacity(BUFFER_BYTES, raw);
        let compression = compression_of(name, input.fill_buf()?);
        Ok(Self {
            decoder: Decoder::None(input),
            compression,
            is_joined,
            start: 0,
            n_members: 0,
            n_unpacked: 0,
            n_reread: 0,
            n_bytes,
            limits: *limits,
        })
    }

    /// Unpacked bytes handed out so far.
    pub(super) fn n_unpacked(&self) -> u64 {
        self.n_unpacked
    }

    /// Whether members tell records apart.
    pub(super) fn is_compressed(&self) -> bool {
        self.compression != Compression::Plain
    }

    /// Leaves the open member and enters the one behind it; false at the end of the file.
    pub(super) fn next_member(&mut self) -> io::Result<bool> {
        let (compression, is_joined) = (self.compression, self.is_joined);
        let is_first = self.n_members == 0;
        let input = self.leave();
        let is_end = input.fill_buf()?.is_empty();
        let start = input.stream_position()?;
        if is_end && (compression == Compression::Plain || !is_first) {
            return Ok(false);
        }
        if is_end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.start = start;
        self.n_members += 1;
        let input = self.take_input();
        self.decoder = match compression {
            Compression::Plain => Decoder::Plain(input),
            Compression::Gzip => Decoder::Gzip(Box::new(GzDecoder::new(input))),
            Compression::Bzip2 => Decoder::Bzip2(Box::new(BzDecoder::new(input))),
            Compression::Zstandard => match zstd::Decoder::try_with_buffer(input) {
                Ok(mut decoder) => {
                    let log = self.limits.zstd_window_max.0.max(1).ilog2();
                    let log = log.clamp(*ZSTD_WINDOW_LOGS.start(), *ZSTD_WINDOW_LOGS.end());
                    decoder.window_log_max(log).expect("no frame has begun, and the limit is within the library's");
                    Decoder::Zstandard(Box::new(if is_joined { decoder } else { decoder.single_frame() }))
                }
                Err((input, error)) => {
                    self.decoder = Decoder::None(input);
                    return Err(error);
                }
            },
        };
        Ok(true)
    }

    /// After damage: enters the next member that unpacks and begins as a record does; false where there is none.
    pub(super) fn find_next(&mut self, is_record: fn(&[u8]) -> bool) -> io::Result<bool> {
        let compression = self.compression;
        let magic: &[u8] = match compression {
            Compression::Gzip => &GZIP_MAGIC,
            Compression::Zstandard => &ZSTANDARD_MAGIC,
            Compression::Bzip2 => &BZIP2_MAGIC,
            Compression::Plain => return Ok(false),
        };
        let n_reread_max = self.n_reread_max();
        let mut n_reread = self.n_reread;
        let mut at = self.start + 1;
        let is_begun = self.n_members > 0;
        let input = self.leave();
        n_reread += input.stream_position()?.saturating_sub(at);
        let mut is_found = false;
        while is_begun && !is_found && n_reread <= n_reread_max {
            input.seek(SeekFrom::Start(at))?;
            let Some(n_skipped) = skip_to(input, magic)? else { break };
            at += n_skipped;
            input.seek(SeekFrom::Start(at))?;
            let mut probe = Vec::new();
            input.by_ref().take(PROBE_BYTES).read_to_end(&mut probe)?;
            n_reread += probe.len() as u64;
            is_found = is_record(&unpack_beginning(compression, &probe));
            at += u64::from(!is_found);
        }
        if is_found {
            input.seek(SeekFrom::Start(at))?;
        }
        self.n_reread = n_reread;
        Ok(is_found && self.next_member()?)
    }

    /// Goes back in a file that is not compressed; false where too much has been read again already.
    pub(super) fn go_back(&mut self, offset: u64) -> io::Result<bool> {
        self.n_reread += self.n_unpacked.saturating_sub(offset);
        if self.is_compressed() || self.n_reread > self.n_reread_max() {
            return Ok(false);
        }
        self.leave().seek(SeekFrom::Start(offset))?;
        self.decoder = Decoder::Plain(self.take_input());
        self.n_unpacked = offset;
        Ok(true)
    }

    /// Says what an error of [`Read::read`] means.
    pub(super) fn fault(&self, error: io::Error) -> Fault {
        if error.raw_os_error().is_some() {
            Fault::Disk(error)
        } else if self.is_bomb() {
            Fault::Hopeless(format!("unpacks to more than {} times its size", self.limits.expansion_max.0))
        } else if error.to_string().contains(ZSTD_WINDOW_ERROR) {
            let window = self.limits.zstd_window_max;
            Fault::Hopeless(format!("needs a window wider than reading.zstd_window_max, {window}, to be unpacked"))
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            Fault::Damaged("is cut off: its compressed data has no end".to_owned())
        } else {
            Fault::Damaged(format!("cannot be unpacked: {error}"))
        }
    }

    fn is_bomb(&self) -> bool {
        let n_packed = match &self.decoder {
            Decoder::Plain(_) | Decoder::Taken => return false,
            Decoder::None(input) => input.get_ref().offset,
            Decoder::Gzip(decoder) => decoder.get_ref().get_ref().offset,
            Decoder::Zstandard(decoder) => decoder.get_ref().get_ref().offset,
            Decoder::Bzip2(decoder) => decoder.get_ref().get_ref().offset,
        };
        self.n_unpacked > self.limits.expansion_max.0.saturating_mul(n_packed).saturating_add(EXPANSION_GRACE)
    }

    fn n_reread_max(&self) -> u64 {
        REREAD_MAX.saturating_mul(self.n_bytes).saturating_add(REREAD_GRACE)
    }

    /// The file itself, behind the open member or wherever its decoder stopped.
    fn leave(&mut self) -> &mut Input {
        let input = self.take_input();
        self.decoder = Decoder::None(input);
        match &mut self.decoder {
            Decoder::None(input) => input,
            _ => unreachable!("put there above"),
        }
    }

    fn take_input(&mut self) -> Input {
        match mem::replace(&mut self.decoder, Decoder::Taken) {
            Decoder::Plain(input) | Decoder::None(input) => input,
            Decoder::Gzip(decoder) => decoder.into_inner(),
            Decoder::Zstandard(decoder) => decoder.finish(),
            Decoder::Bzip2(decoder) => decoder.into_inner(),
            Decoder::Taken => unreachable!("every method puts a decoder back"),
        }
    }
}

impl Read for Members {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n_read = match &mut self.decoder {
                Decoder::Plain(input) => input.read(buffer)?,
                Decoder::Gzip(decoder) => decoder.read(buffer)?,
                Decoder::Zstandard(decoder) => decoder.read(buffer)?,
                Decoder::Bzip2(decoder) => decoder.read(buffer)?,
                Decoder::None(_) => 0,
                Decoder::Taken => unreachable!("every method puts a decoder back"),
            };
            self.n_unpacked += n_read as u64;
            if self.is_bomb() {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            if n_read > 0 || buffer.is_empty() || !self.is_joined || !self.next_member()? {
                return Ok(n_read);
            }
        }
    }
}

fn compression_of(name: &str, beginning: &[u8]) -> Compression {
    let by_ending = [(".gz", Compression::Gzip), (".zst", Compression::Zstandard), (".bz2", Compression::Bzip2)];
    let by_magic: [(&[u8], Compression); 3] = [
        (&GZIP_MAGIC, Compression::Gzip),
        (&ZSTANDARD_MAGIC, Compression::Zstandard),
        (b"BZh91AY&SY", Compression::Bzip2),
    ];
    let by_ending = by_ending.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, kind)| kind);
    let by_magic = || by_magic.into_iter().find(|(magic, _)| beginning.starts_with(magic)).map(|(_, kind)| kind);
    by_ending.or_else(by_magic).unwrap_or(Compression::Plain)
}

/// Passes over bytes up to the next `pattern`; how many, or nothing where it does not come.
fn skip_to(input: &mut Input, pattern: &[u8]) -> io::Result<Option<u64>> {
    let mut n_skipped = 0;
    let mut n_matched = 0;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(None);
        }
        for (index, &byte) in buffer.iter().enumerate() {
            // No pattern here repeats its first byte, so a failed match never hides another one's beginning.
            n_matched = if byte == pattern[n_matched] { n_matched + 1 } else { usize::from(byte == pattern[0]) };
            if n_matched == pattern.len() {
                return Ok(Some(n_skipped + index as u64 + 1 - pattern.len() as u64));
            }
        }
        let n_bytes = buffer.len();
        n_skipped += n_bytes as u64;
        input.consume(n_bytes);
    }
}

/// The first bytes inside a member of which only the beginning is at hand.
fn unpack_beginning(compression: Compression, packed: &[u8]) -> Vec<u8> {
    let mut unpacked = vec![0; 512];
    let mut decoder: Box<dyn Read> = match compression {
        Compression::Gzip => Box::new(GzDecoder::new(packed)),
        Compression::Bzip2 => Box::new(BzDecoder::new(packed)),
        Compression::Zstandard => match zstd::Decoder::with_buffer(packed) {
            Ok(decoder) => Box::new(decoder),
            Err(_) => return Vec::new(),
        },
        Compression::Plain => Box::new(packed),
    };
    let mut n_bytes = 0;
    while n_bytes < unpacked.len() {
        match decoder.read(&mut unpacked[n_bytes..]) {
            Ok(0) | Err(_) => break,
            Ok(n_read) => n_bytes += n_read,
        }
    }
    unpacked.truncate(n_bytes);
    unpacked
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_read = match &mut self.origin {
            Origin::File(file) => file.read(buffer)?,
            Origin::Memory(bytes) => {
                let from = usize::try_from(self.offset).unwrap_or(usize::MAX).min(bytes.len());
                let n_read = buffer.len().min(bytes.len() - from);
                buffer[..n_read].copy_from_slice(&bytes[from..from + n_read]);
                n_read
            }
        };
        self.offset += n_read as u64;
        let n_new = self.offset.saturating_sub(self.n_counted);
        self.n_counted += n_new;
        self.n_bytes_read.fetch_add(n_new, Ordering::Relaxed);
        Ok(n_read)
    }
}

impl Seek for Raw {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.offset = match (&mut self.origin, to) {
            (Origin::File(file), to) => file.seek(to)?,
            (Origin::Memory(_), SeekFrom::Start(offset)) => offset,
            (Origin::Memory(_), SeekFrom::Current(by)) => self.offset.saturating_add_signed(by),
            (Origin::Memory(bytes), SeekFrom::End(by)) => (bytes.len() as u64).saturating_add_signed(by),
        };
        Ok(self.offset)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        Ok(self.offset)
    }
}
