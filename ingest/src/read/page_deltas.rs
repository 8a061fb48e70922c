//! The counts inside pages of delta-encoded texts, checked before a decoder makes room for that many.
//!
//! Such a page begins with its lengths, packed; in front of them stands how many there are, which in a damaged file is
//! anything, while the lengths themselves may take no bits at all. No header tells it, so that these pages are unpacked one
//! time more; few writers use them for texts.
//!
//! ```text
//! DELTA_LENGTH_BYTE_ARRAY: lengths, bytes
//! DELTA_BYTE_ARRAY:        lengths of what is repeated, lengths of the rest, bytes
//! lengths: <values in a block> <mini-blocks in a block> <values> <first value> block ...
//! block:   <smallest delta> <bits of a delta: a byte for each mini-block> mini-block ...
//! ```
//!
//! Source: apache/parquet-format, Encodings.md, "Delta Encoding" to "Delta Strings".

use std::sync::Arc;

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;

/// A page has at most so many values; writers aim at 20,000.
const PAGE_VALUES_MAX: usize = 1 << 24;

/// Walks the data pages of a column chunk, whose headers are known to be sound.
pub(super) fn check_deltas(
    file: &Arc<impl ChunkReader + 'static>,
    column: &ColumnChunkMetaData,
    n_rows: usize,
) -> Result<(), String> {
    let pages = SerializedPageReader::new(Arc::clone(file), column, n_rows, None);
    let mut pages = pages.map_err(|error| error.to_string())?;
    while let Some(page) = pages.get_next_page().map_err(|error| error.to_string())? {
        let n_lists = match page.encoding() {
            Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
            Encoding::DELTA_BYTE_ARRAY => 2,
            _ => continue,
        };
        let mut at = level_bytes(&page, column)?;
        let n_values_max = PAGE_VALUES_MAX.min(page.num_values() as usize);
        for _ in 0..n_lists {
            let bytes = page.buffer().get(at..).ok_or("a page ends inside its levels")?;
            at += lengths_bytes(bytes, n_values_max)?;
        }
    }
    Ok(())
}

/// Bytes in front of the values: which of them are there, and where lists begin.
fn level_bytes(page: &Page, column: &ColumnChunkMetaData) -> Result<usize, String> {
    let Page::DataPage { buf, num_values, def_level_encoding, rep_level_encoding, .. } = page else {
        let Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } = page else {
            return Ok(0);
        };
        return Ok(*def_levels_byte_len as usize + *rep_levels_byte_len as usize);
    };
    let column = column.column_descr();
    let levels = [(column.max_rep_level(), rep_level_encoding), (column.max_def_level(), def_level_encoding)];
    let mut at = 0;
    for (level_max, encoding) in levels.into_iter().filter(|(level_max, _)| *level_max > 0) {
        at += if *encoding == Encoding::RLE {
            let length = buf.get(at..).and_then(|rest| rest.first_chunk()).ok_or("a page ends inside its levels")?;
            4 + u32::from_le_bytes(*length) as usize
        } else {
            let n_bits = i16::BITS - level_max.leading_zeros();
            (*num_values as usize * n_bits as usize).div_ceil(8)
        };
    }
    Ok(at)
}

/// Bytes that a list of lengths takes.
fn lengths_bytes(bytes: &[u8], n_values_max: usize) -> Result<usize, String> {
    let mut walk = Walk { bytes, at: 0 };
    let n_in_block = walk.read_varint()?;
    let n_mini_blocks = walk.read_varint()?;
    let mut n_left = walk.read_varint()?;
    walk.read_varint()?;
    if n_left > n_values_max {
        return Err(format!("a page that has {n_values_max} values has {n_left} lengths"));
    }
    if n_mini_blocks == 0 || n_in_block < n_mini_blocks {
        return Err(format!("a page packs {n_in_block} lengths into {n_mini_blocks} parts"));
    }
    let n_in_mini_block = n_in_block / n_mini_blocks;
    // The first is in front of the blocks.
    n_left = n_left.saturating_sub(1);
    while n_left > 0 {
        walk.read_varint()?;
        let n_bits = walk.read_bytes(n_mini_blocks)?;
        for &n_bits in n_bits {
            // Behind the last value, the bits are written and their mini-blocks are not.
            if n_left == 0 {
                break;
            }
            n_left = n_left.saturating_sub(n_in_mini_block);
            walk.read_bytes((n_in_mini_block / 8).saturating_mul(usize::from(n_bits)))?;
        }
    }
    Ok(walk.at)
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    fn read_varint(&mut self) -> Result<usize, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let &[byte] = self.read_bytes(1)? else { break };
            value |= usize::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a page has a number longer than 64 bits".to_owned())
    }

    fn read_bytes(&mut self, n_bytes: usize) -> Result<&'a [u8], String> {
        let bytes = self.bytes[self.at..].get(..n_bytes).ok_or("a page ends inside its lengths")?;
        self.at += n_bytes;
        Ok(bytes)
    }
}
