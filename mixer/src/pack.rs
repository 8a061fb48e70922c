//! Documents of one stratum become rows: where every piece goes. Tokens are not looked at here, only lengths.

use std::collections::BTreeMap;

use corpus::Span;

/// A document, or what is left of one, as it is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its number among all documents.
    pub document: u64,
    /// Its positions.
    pub span: Span,
    /// Which reading of the document this is, from 1; 0 goes on with an earlier one.
    pub pass: u8,
}

/// A piece of a document in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The document's number.
    pub document: u64,
    /// Its positions.
    pub span: Span,
    /// Which reading.
    pub pass: u8,
    /// Number of the row in its stratum.
    pub row: u64,
    /// First position in the row.
    pub row_start: u32,
    /// Whether it is the first piece of what was to be read.
    pub is_first: bool,
    /// Whether the first token is to be predicted where another stands before it in the row. It is not where it was predicted
    /// in the row before, nor where the model will not see what stands before it.
    pub predicts_first: bool,
}

/// What packing a stratum came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Rows that are complete; fewer than asked for where the documents ran out.
    pub n_rows: u64,
    /// Spans still to come of documents that were begun.
    pub rest: BTreeMap<u64, Vec<Span>>,
    /// Documents of which something was placed, each reading counted.
    pub n_documents: u64,
    /// Those that are in pieces.
    pub n_cut: u64,
    /// Those that are longer than a row, which must be.
    pub n_long: u64,
    /// The highest reading.
    pub last_pass: u8,
}

impl Packed {
    fn count(&mut self, item: &Item, n_pieces: u64, is_whole: bool, n_row_tokens: u32) {
        if n_pieces > 0 {
            self.n_documents += 1;
            self.n_long += u64::from(item.span.n_positions() > n_row_tokens);
            self.n_cut += u64::from(n_pieces > 1 || !is_whole);
            self.last_pass = self.last_pass.max(item.pass);
        }
    }
}

/// Lays items end to end in rows of `context + 1` tokens. The last token of a row is the first of the next one, where it is not
/// predicted: every token is predicted once. `place` is told of every piece of a complete row.
pub fn concatenate<E>(
    items: impl Iterator<Item = Result<Item, E>>,
    context: usize,
    n_rows: u64,
    place: &mut dyn FnMut(Placement) -> Result<(), E>,
) -> Result<Packed, E> {
    let mut packed = Packed::default();
    let mut row = OpenRow::new(context);
    for item in items {
        if packed.n_rows == n_rows {
            break;
        }
        let item = item?;
        let (mut next, mut n_pieces) = (item.span.start, 0);
        loop {
            let end = row.put(&item, next, packed.n_rows);
            // Where only the last token is left, it begins the next row and is no piece of its own.
            n_pieces += u64::from(next == item.span.start || end - next > 1);
            if row.free > 0 {
                packed.count(&item, n_pieces, true, row.n_row_tokens);
                break;
            }
            row.pieces.drain(..).try_for_each(&mut *place)?;
            row.free = row.n_row_tokens;
            packed.n_rows += 1;
            if packed.n_rows == n_rows {
                if end < item.span.end {
                    packed.rest.entry(item.document).or_default().push(Span { start: end - 1, end: item.span.end });
                }
                packed.count(&item, n_pieces, end == item.span.end, row.n_row_tokens);
                break;
            }
            next = end - 1;
            row.continues = true;
        }
    }
    row.give_back(&mut packed);
    Ok(packed)
}

/// The row that is being filled.
struct OpenRow {
    n_row_tokens: u32,
    free: u32,
    /// Whether it begins inside a document that began in the row before.
    continues: bool,
    pieces: Vec<Placement>,
}

impl OpenRow {
    fn new(context: usize) -> Self {
        let n_row_tokens = u32::try_from(context + 1).expect("a row has fewer than 2^32 tokens");
        Self { n_row_tokens, free: n_row_tokens, continues: false, pieces: Vec::new() }
    }

    /// Puts as much of `item` from `start` on as fits; gives where it ends.
    fn put(&mut self, item: &Item, start: u32, row: u64) -> u32 {
        let end = item.span.end.min(start + self.free);
        self.pieces.push(Placement {
            document: item.document,
            span: Span { start, end },
            pass: item.pass,
            row,
            row_start: self.n_row_tokens - self.free,
            is_first: start == item.span.start,
            predicts_first: start == 0 && item.pass > 0,
        });
        self.free -= end - start;
        end
    }

    /// The documents ran out inside a row, which is not written: what is in it was not read.
    fn give_back(self, packed: &mut Packed) {
        for (index, piece) in self.pieces.iter().enumerate() {
            if index > 0 || !self.continues {
                packed.n_documents -= 1;
            } else if piece.span.n_positions() > 1 {
                packed.rest.entry(piece.document).or_default().push(piece.span);
            }
        }
    }
}

/// Documents that are sorted by length at a time: enough that nearly every gap finds its document, few enough to hold.
const WINDOW: usize = 1 << 12;

/// Rows that are kept open for something that fits.
const OPEN_ROWS: usize = 1 << 16;

/// Puts items into rows of `context + 1` tokens, the longest first, each where it leaves the least room (best-fit decreasing: Ding
/// et al., arXiv 2404.10830, there over all documents at once, here over windows of them with the open rows kept). Only items
/// longer than a row are cut, and their pieces overlap by one token, which is predicted once.
///
/// O(n log n) for sorting; finding the row looks at one bit for every possible length.
pub fn best_fit<E>(
    mut items: impl Iterator<Item = Result<Item, E>>,
    context: usize,
    n_rows: u64,
    predicts_first: bool,
    place: &mut dyn FnMut(Placement) -> Result<(), E>,
) -> Result<Packed, E> {
    let mut fit = BestFit::new(context, n_rows, predicts_first);
    let mut first = items.next().transpose()?;
    while let Some(item) = first.take().filter(|_| fit.packed.n_rows < n_rows) {
        // A window is of one reading: nothing is read again while something that comes before it may still be left over.
        let mut window = vec![item];
        while window.len() < WINDOW && first.is_none() {
            let Some(next) = items.next().transpose()? else { break };
            if next.pass == item.pass { window.push(next) } else { first = Some(next) }
        }
        if first.is_none() {
            first = items.next().transpose()?;
        }
        window.sort_by_key(|item| std::cmp::Reverse(item.span.n_positions()));
        window.iter().try_for_each(|item| fit.put(item, place))?;
    }
    Ok(fit.packed)
}

struct BestFit {
    n_row_tokens: u32,
    n_rows: u64,
    predicts_first: bool,
    /// Open rows by how many tokens are free in them, and which of these lists hold something, as bits.
    open: Vec<Vec<u64>>,
    is_open: Vec<u64>,
    n_open: usize,
    packed: Packed,
}

impl BestFit {
    fn new(context: usize, n_rows: u64, predicts_first: bool) -> Self {
        let n_row_tokens = u32::try_from(context + 1).expect("a row has fewer than 2^32 tokens");
        let n_lengths = context + 2;
        let (open, is_open) = (vec![Vec::new(); n_lengths], vec![0; n_lengths.div_ceil(64)]);
        Self { n_row_tokens, n_rows, predicts_first, open, is_open, n_open: 0, packed: Packed::default() }
    }

    /// Puts an item; or leaves it, or the rest of it, for the next stage where all rows are taken.
    fn put<E>(&mut self, item: &Item, place: &mut dyn FnMut(Placement) -> Result<(), E>) -> Result<(), E> {
        let (mut next, mut n_pieces) = (item.span.start, 0);
        let is_whole = loop {
            let end = item.span.end.min(next + self.n_row_tokens);
            let Some((row, row_start)) = self.find_row(end - next) else { break false };
            // The first token of a later piece was the last of the piece before, and was predicted there.
            let predicts_first = self.predicts_first && next == 0 && item.pass > 0;
            let span = Span { start: next, end };
            let Item { document, pass, .. } = *item;
            let is_first = next == item.span.start;
            place(Placement { document, span, pass, row, row_start, is_first, predicts_first })?;
            n_pieces += 1;
            if end == item.span.end {
                break true;
            }
            next = end - 1;
        };
        if !is_whole && n_pieces > 0 {
            self.packed.rest.entry(item.document).or_default().push(Span { start: next, end: item.span.end });
        }
        self.packed.count(item, n_pieces, is_whole, self.n_row_tokens);
        Ok(())
    }

    /// The row with the least room that holds `len` tokens, a new one where none does; and the position in it.
    fn find_row(&mut self, len: u32) -> Option<(u64, u32)> {
        let (row, free) = match self.tightest(len) {
            Some(free) => (self.take(free), free),
            None if self.packed.n_rows < self.n_rows => {
                self.packed.n_rows += 1;
                (self.packed.n_rows - 1, self.n_row_tokens)
            }
            None => return None,
        };
        if free > len {
            self.keep(row, free - len);
        }
        Some((row, self.n_row_tokens - free))
    }

    /// The least room of an open row that is at least `len`.
    fn tightest(&self, len: u32) -> Option<u32> {
        let (first, bit) = (len as usize / 64, len % 64);
        let of_first = self.is_open[first] & (u64::MAX << bit);
        let rest = self.is_open.iter().copied().enumerate().skip(first + 1);
        let (word, bits) = [(first, of_first)].into_iter().chain(rest).find(|(_, bits)| *bits != 0)?;
        Some(word as u32 * 64 + bits.trailing_zeros())
    }

    fn take(&mut self, free: u32) -> u64 {
        let list = &mut self.open[free as usize];
        let row = list.pop().expect("its bit is set");
        if list.is_empty() {
            self.is_open[free as usize / 64] &= !(1 << (free % 64));
        }
        self.n_open -= 1;
        row
    }

    fn keep(&mut self, row: u64, free: u32) {
        self.open[free as usize].push(row);
        self.is_open[free as usize / 64] |= 1 << (free % 64);
        self.n_open += 1;
        if self.n_open > OPEN_ROWS {
            // The fullest row is the one that is least likely to be filled any further.
            let fullest = self.tightest(1).expect("there are open rows");
            self.take(fullest);
        }
    }
}
