//! How much running text stands where.
//!
//! A block is a run of characters without a block element or line break in between, such as a paragraph. Its bytes are
//! counted outside and inside of links, and its punctuation. Bytes, not characters, because a Han character says about
//! as much as three letters and has three bytes. Every element then gets the sums of what is below it. Cost: linear,
//! two passes over the nodes.

use super::names::Tag;
use super::tree::{Node, Tree};

/// What an element holds, descendants included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Bytes of text that are not in a link; white space and references count little.
    pub(super) text: u32,
    /// Bytes of text in links.
    pub(super) link: u32,
    /// Commas, full stops and their like in any script.
    pub(super) marks: u32,
    /// Bytes of `text` in blocks that read like sentences.
    pub(super) prose: u32,
    /// Headings but `h1`.
    pub(super) n_headings: u32,
    /// Blocks that keep their line breaks.
    pub(super) n_verbatim: u32,
}

impl Weight {
    fn add(&mut self, other: Self) {
        self.text += other.text;
        self.link += other.link;
        self.marks += other.marks;
        self.prose += other.prose;
        self.n_headings += other.n_headings;
        self.n_verbatim += other.n_verbatim;
    }

    /// All bytes of text.
    pub(super) fn total(self) -> u32 {
        self.text + self.link
    }
}

/// The weight of every run of characters, and of nothing else.
pub(super) fn weigh_characters(tree: &Tree<'_>) -> Vec<Weight> {
    tree.nodes
        .iter()
        .map(|node| if node.tag == Tag::Text { of_characters(tree, node) } else { Weight::default() })
        .collect()
}

fn of_characters(tree: &Tree<'_>, node: &Node) -> Weight {
    let (mut n_bytes, mut n_marks) = (0, 0);
    let bytes = tree.source(node).as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            0..=b' ' => {}
            b'&' => {
                // A reference is one character; a no-break space is none.
                let len = bytes[at..].iter().take(10).position(|byte| *byte == b';');
                n_bytes += u32::from(!bytes[at..].starts_with(b"&nbsp"));
                at += len.unwrap_or(0);
            }
            b'.' | b',' | b';' | b'!' | b'?' => {
                n_bytes += 1;
                n_marks += 1;
            }
            0xE3 | 0xEF | 0xE0 | 0xE1 | 0xD8 => {
                n_bytes += 1;
                n_marks += u32::from(is_mark(&bytes[at..]));
            }
            _ => n_bytes += 1,
        }
        at += 1;
    }
    let (text, link) = if node.is_linked { (0, n_bytes) } else { (n_bytes, 0) };
    Weight { text, link, marks: n_marks, ..Weight::default() }
}

/// `、` `。` `！` `，` `：` `；` `？` and the marks of Arabic, Devanagari and Burmese.
fn is_mark(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [0xE3, 0x80, 0x81 | 0x82, ..]
            | [0xEF, 0xBC, 0x81 | 0x8C | 0x9A | 0x9B | 0x9F, ..]
            | [0xD8, 0x8C | 0x9B | 0x9F, ..]
            | [0xE0, 0xA5, 0xA4, ..]
            | [0xE1, 0x81, 0x8A | 0x8B, ..]
    )
}

/// The weight of every element from the weights of the characters, without what is `dropped` and all below it.
pub(super) fn weigh(tree: &Tree<'_>, characters: &[Weight], dropped: &[bool]) -> Vec<Weight> {
    let mut weights = vec![Weight::default(); tree.nodes.len()];
    let mut block = Weight::default();
    let mut blocks_open: Vec<usize> = vec![0];
    let mut at = 0;
    while at < tree.nodes.len() {
        while tree.nodes[*blocks_open.last().expect("the page is open")].end as usize <= at {
            let ended = blocks_open.pop().expect("the page ends last");
            end_block(&mut weights[ended], &mut block, tree.nodes[ended].tag);
        }
        let node = &tree.nodes[at];
        if dropped[at] {
            at = node.end as usize;
            continue;
        }
        let open = *blocks_open.last().expect("the page is open");
        match node.tag {
            Tag::Text => {
                weights[at] = characters[at];
                block.add(characters[at]);
            }
            Tag::Br => end_block(&mut weights[open], &mut block, tree.nodes[open].tag),
            tag if tag.is_block() => {
                end_block(&mut weights[open], &mut block, tree.nodes[open].tag);
                blocks_open.push(at);
                weights[at].n_headings += u32::from(tag.is_heading() && tag != Tag::H1);
                weights[at].n_verbatim += u32::from(tag.is_verbatim());
            }
            _ => {}
        }
        at += 1;
    }
    while let Some(open) = blocks_open.pop() {
        end_block(&mut weights[open], &mut block, tree.nodes[open].tag);
    }
    for at in (1..tree.nodes.len()).rev() {
        let weight = weights[at];
        weights[tree.nodes[at].parent as usize].add(weight);
    }
    weights
}

fn end_block(weight: &mut Weight, block: &mut Weight, tag: Tag) {
    weight.prose += prose(*block, tag);
    *block = Weight::default();
}

/// Bytes of a block that count as prose.
fn prose(block: Weight, tag: Tag) -> u32 {
    let is_long = block.text >= 120 || (block.text >= 40 && block.marks > 0) || tag.is_verbatim();
    let is_linked = block.link > block.text;
    if is_long && !is_linked && !tag.is_heading() { block.text } else { 0 }
}
