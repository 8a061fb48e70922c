//! Documents of one group become rows.

use corpus::{Kind, Seed, Segment, Span, TokenizedDocument};

/// A row of `context + 1` tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its tokens; padding is the token 0 that no segment covers.
    pub tokens: Vec<u32>,
    /// What it is made of.
    pub segments: Vec<Segment>,
}

/// The endless stream of a group's documents, and how far it has been read.
pub struct Stream<'d> {
    documents: Vec<&'d TokenizedDocument>,
    seed: Seed,
    context: usize,
    /// Documents of this epoch, in reading order.
    order: Vec<usize>,
    epoch: u32,
    /// Next document in `order`, and the position in it.
    next: usize,
    offset: usize,
    /// Passes begun by the rows handed out so far.
    n_epochs: u32,
    /// Propositions longer than a row, left out in every epoch.
    n_too_long: u64,
}

impl<'d> Stream<'d> {
    /// A stream over documents of one kind. Propositions that do not fit into a row are left out and counted.
    pub fn new(documents: Vec<&'d TokenizedDocument>, seed: Seed, context: usize) -> Self {
        let n_all = documents.len();
        let fits =
            |document: &&TokenizedDocument| document.kind != Kind::Proposition || document.tokens.len() <= context + 1;
        let documents: Vec<_> = documents.into_iter().filter(fits).collect();
        let n_too_long = (n_all - documents.len()) as u64;
        let order = order(&documents, &seed, 0);
        Self { documents, seed, context, order, epoch: 0, next: 0, offset: 0, n_epochs: 0, n_too_long }
    }

    /// Propositions that are longer than a row.
    pub fn n_too_long(&self) -> u64 {
        self.n_too_long
    }

    /// Passes over the documents that the rows handed out so far have begun, 1 for the first.
    pub fn n_epochs(&self) -> u32 {
        self.n_epochs
    }

    /// Nothing to read.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// The next row.
    ///
    /// # Panics
    /// Where the stream is empty.
    pub fn next_row(&mut self) -> Row {
        assert!(!self.is_empty(), "a stream of no documents has no rows");
        let whole = self.documents[0].kind == Kind::Proposition;
        if whole { self.next_whole_row() } else { self.next_cut_row() }
    }

    /// Documents end to end. The last token of a row is the first of the next one, where it is not a target.
    fn next_cut_row(&mut self) -> Row {
        let n_row_tokens = self.context + 1;
        let mut row = Row { tokens: Vec::with_capacity(n_row_tokens), segments: Vec::new() };
        loop {
            let document = self.current();
            let len = (document.tokens.len() - self.offset).min(n_row_tokens - row.tokens.len());
            append(&mut row, document, self.offset, len);
            self.n_epochs = self.epoch + 1;
            if row.tokens.len() == n_row_tokens {
                self.offset += len - 1;
                return row;
            }
            self.advance();
        }
    }

    /// Whole documents as long as they fit; the rest of the row is padding.
    fn next_whole_row(&mut self) -> Row {
        let n_row_tokens = self.context + 1;
        let mut row = Row { tokens: Vec::with_capacity(n_row_tokens), segments: Vec::new() };
        while row.tokens.len() + self.current().tokens.len() <= n_row_tokens {
            let document = self.current();
            append(&mut row, document, 0, document.tokens.len());
            self.n_epochs = self.epoch + 1;
            self.advance();
        }
        row.tokens.resize(n_row_tokens, 0);
        row
    }

    fn current(&self) -> &'d TokenizedDocument {
        self.documents[self.order[self.next]]
    }

    fn advance(&mut self) {
        (self.next, self.offset) = (self.next + 1, 0);
        if self.next == self.order.len() {
            self.epoch += 1;
            self.next = 0;
            self.order = order(&self.documents, &self.seed, self.epoch);
        }
    }
}

/// The reading order of an epoch: by a hash of seed, epoch and document.
fn order(documents: &[&TokenizedDocument], seed: &Seed, epoch: u32) -> Vec<usize> {
    let seed = seed.stream(&format!("epoch {epoch}"));
    let mut order: Vec<usize> = (0..documents.len()).collect();
    order.sort_by_cached_key(|&index| (seed.order_key(&documents[index].id.0), documents[index].id));
    order
}

/// Appends `len` tokens of `document` from `offset` on, with the loss spans that fall into them.
fn append(row: &mut Row, document: &TokenizedDocument, offset: usize, len: usize) {
    let row_start = row.tokens.len();
    row.tokens.extend_from_slice(&document.tokens[offset..offset + len]);
    let in_row = |position: u32| (position as usize).clamp(offset, offset + len) - offset + row_start;
    let spans = document.loss.as_ref().map(|spans| {
        let moved =
            spans.iter().map(|span| Span { start: in_row(span.start).max(1) as u32, end: in_row(span.end) as u32 });
        moved.filter(|span| span.start < span.end).collect()
    });
    row.segments.push(Segment {
        doc: document.id,
        row_start: row_start as u32,
        len: len as u32,
        doc_offset: offset as u32,
        loss: spans,
        source: document.source.clone(),
        lang: document.lang.clone(),
        kind: document.kind,
    });
}
