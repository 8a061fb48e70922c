//! Which part of a page is its main text.
//!
//! First what no reader wants is dropped: hidden elements, menus, footers, side boxes and comments as the names of
//! their elements and classes tell ([`Hints`]), each only as long as it does not hold most of the prose of the page.
//! Then the part is narrowed: to what the page calls its main part or article, then down as long as one child holds
//! nearly all prose. Inside of it, boxes of links, headings above nothing and editorial lines go. Where less than a
//! paragraph would be left, the whole body without its menus is taken instead, which is right for indexes and stubs.
//! Cost: linear, a few passes over the nodes.

use super::hints::Hints;
use super::names::Tag;
use super::tree::{Node, Tree};
use super::weigh::{Weight, weigh, weigh_characters};

/// What to render.
#[derive(Debug)]
pub(super) struct Choice {
    /// Paragraphs that stand before the element, between it and the page's heading.
    pub(super) lead: Vec<usize>,
    /// The element whose text is taken.
    pub(super) root: usize,
    /// Per node, whether it is left out with all below it.
    pub(super) dropped: Vec<bool>,
    /// Per node, whether it is a table of data, not of layout.
    pub(super) is_data_table: Vec<bool>,
}

/// Bytes of prose that make a page an article; fewer, and its body is taken whole.
const PROSE_MIN: u32 = 200;

/// Chooses the main part of a page.
pub(super) fn choose(tree: &Tree<'_>) -> Choice {
    let characters = weigh_characters(tree);
    let mut dropped = vec![false; tree.nodes.len()];
    drop_unseen(tree, &mut dropped);
    let weights = weigh(tree, &characters, &dropped);
    let bare = dropped.clone();
    drop_surroundings(tree, &weights, &mut dropped);
    let weights = weigh(tree, &characters, &dropped);
    let root = narrow(tree, &weights, &dropped);
    let lead = lead(tree, &weights, &dropped, root);
    prune(tree, root, &weights, &mut dropped);
    let weights = weigh(tree, &characters, &dropped);
    let is_data_table = data_tables(tree, &weights);
    if weights[root].prose < PROSE_MIN && weights[root].total() < PROSE_MIN {
        let weights = weigh(tree, &characters, &bare);
        let is_data_table = data_tables(tree, &weights);
        return Choice { lead: Vec::new(), root: 0, dropped: bare, is_data_table };
    }
    Choice { lead, root, dropped, is_data_table }
}

/// Calls `visit` with every node that is not below a dropped one; what it answers is dropped.
fn drop_where(tree: &Tree<'_>, root: usize, dropped: &mut [bool], mut visit: impl FnMut(usize, &Node) -> bool) {
    let (mut at, end) = (root + 1, tree.nodes[root].end as usize);
    while at < end {
        let node = &tree.nodes[at];
        dropped[at] = dropped[at] || visit(at, node);
        at = if dropped[at] { node.end as usize } else { at + 1 };
    }
}

fn drop_unseen(tree: &Tree<'_>, dropped: &mut [bool]) {
    drop_where(tree, 0, dropped, |_, node| {
        let is_hidden = node.hints.has(Hints::HIDDEN) && !node.hints.has(Hints::FORMULA);
        node.tag.is_never_text() || is_hidden || (node.hints.has(Hints::MARK) && !node.tag.is_block())
    });
}

fn drop_surroundings(tree: &Tree<'_>, weights: &[Weight], dropped: &mut [bool]) {
    let all = weights[0].prose;
    let mut left = all;
    drop_where(tree, 0, dropped, |at, node| {
        let weight = weights[at];
        let is_surrounding = match node.tag {
            Tag::Text | Tag::Page | Tag::Article | Tag::Main => false,
            Tag::Nav | Tag::Footer | Tag::Aside => true,
            _ => node.hints.has(Hints::CLUTTER) && !node.hints.has(Hints::BODY),
        };
        let is_dropped = if node.hints.has(Hints::COMMENTS) {
            left - weight.prose >= PROSE_MIN
        } else if is_surrounding {
            weight.prose * 2 <= all
        } else if node.hints.has(Hints::DOUBTFUL) || matches!(node.tag, Tag::Header | Tag::Form) {
            weight.n_headings == 0 && weight.prose < 60 && node.tag != Tag::Text && !node.hints.has(Hints::CONTENT)
        } else {
            false
        };
        if is_dropped {
            left -= weight.prose;
        }
        is_dropped
    });
}

/// The element that holds the article.
fn narrow(tree: &Tree<'_>, weights: &[Weight], dropped: &[bool]) -> usize {
    let mut root = 0;
    let is_main: fn(&Node) -> bool = |node| node.tag == Tag::Main || node.hints.has(Hints::MAIN);
    let is_article: fn(&Node) -> bool = |node| node.tag == Tag::Article;
    let is_body: fn(&Node) -> bool = |node| node.hints.has(Hints::BODY);
    for is_candidate in [is_main, is_article, is_body] {
        root = narrow_to(tree, weights, dropped, root, is_candidate);
    }
    descend(tree, weights, dropped, root)
}

/// The element around the outermost candidates below `root`, if a good part of the prose is in them. Small ones are
/// teasers; several large ones are parts of one article, or articles of one page.
fn narrow_to(
    tree: &Tree<'_>,
    weights: &[Weight],
    dropped: &[bool],
    root: usize,
    is_candidate: fn(&Node) -> bool,
) -> usize {
    let mut candidates = Vec::new();
    let (mut at, end) = (root + 1, tree.nodes[root].end as usize);
    while at < end {
        let node = &tree.nodes[at];
        if !dropped[at] && is_candidate(node) && weights[at].prose > 0 {
            candidates.push(at);
            at = node.end as usize;
        } else {
            at = if dropped[at] { node.end as usize } else { at + 1 };
        }
    }
    let most = candidates.iter().map(|at| weights[*at].prose).max().unwrap_or(0);
    candidates.retain(|at| weights[*at].prose >= most / TEASER_SHARE);
    let sum: u32 = candidates.iter().map(|at| weights[*at].prose).sum();
    let (Some(first), Some(last)) = (candidates.first(), candidates.last()) else { return root };
    if sum < weights[root].prose / 3 {
        return root;
    }
    let mut around = *first;
    while (tree.nodes[around].end as usize) <= *last {
        around = tree.nodes[around].parent as usize;
    }
    around
}

/// A candidate of less than this share of the largest one is not what the page is about.
const TEASER_SHARE: u32 = 4;

/// Goes down as long as one child holds nearly all of the prose.
fn descend(tree: &Tree<'_>, weights: &[Weight], dropped: &[bool], root: usize) -> usize {
    let least = weights[root].prose / 100 * 80;
    let mut root = root;
    let mut at = root + 1;
    while at < tree.nodes[root].end as usize {
        let node = &tree.nodes[at];
        let is_container = node.tag.is_block() && !matches!(node.tag, Tag::P | Tag::Li | Tag::Pre | Tag::Blockquote);
        if !dropped[at] && is_container && weights[at].prose > least && weights[at].prose > 0 {
            root = at;
            at += 1;
        } else {
            at = if node.tag.is_block() || dropped[at] || weights[at].prose <= least {
                node.end as usize
            } else {
                at + 1
            };
        }
    }
    root
}

/// Paragraphs between the heading of the article and the element that holds it: a summary, often in a box of its own.
fn lead(tree: &Tree<'_>, weights: &[Weight], dropped: &[bool], root: usize) -> Vec<usize> {
    let mut lead = Vec::new();
    let Some(heading) = tree.nodes[..root].iter().rposition(|node| node.tag == Tag::H1) else { return lead };
    let mut at = tree.nodes[heading].end as usize;
    let mut n_bytes = 0;
    while at < root {
        let (node, weight) = (&tree.nodes[at], weights[at]);
        let ends_before = node.end as usize <= root;
        if ends_before && (dropped[at] || weight.text < 40) {
            at = node.end as usize;
            continue;
        }
        let has_blocks = tree.nodes[at + 1..node.end as usize].iter().any(|node| node.tag.is_block());
        if ends_before && node.tag.is_block() && !has_blocks {
            if weight.marks > 0 && weight.link * 3 < weight.text {
                lead.push(at);
                n_bytes += weight.text;
            }
            at = node.end as usize;
        } else {
            at += 1;
        }
    }
    if n_bytes > LEAD_MAX { Vec::new() } else { lead }
}

/// More bytes than this before the article are something else.
const LEAD_MAX: u32 = 1200;

/// Drops boxes of links inside of the article.
fn prune(tree: &Tree<'_>, root: usize, weights: &[Weight], dropped: &mut [bool]) {
    let page = weights[root];
    let is_index = page.link > page.text;
    if is_index {
        return;
    }
    drop_where(tree, root, dropped, |at, node| {
        let weight = weights[at];
        node.tag.is_block()
            && !matches!(node.tag, Tag::Td | Tag::Th | Tag::Tr | Tag::Li)
            && !node.tag.is_heading()
            && weight.link > weight.text * 2
            && weight.prose == 0
    });
}

fn data_tables(tree: &Tree<'_>, weights: &[Weight]) -> Vec<bool> {
    let mut is_data = vec![false; tree.nodes.len()];
    let mut open: Vec<Table> = Vec::new();
    for (at, node) in tree.nodes.iter().enumerate() {
        while open.last().is_some_and(|table| table.end <= at) {
            let table = open.pop().expect("there is a last one");
            is_data[table.at] = table.is_data();
        }
        if node.tag == Tag::Table {
            if let Some(outer) = open.last_mut() {
                outer.is_layout = true;
            }
            let is_layout = node.hints.has(Hints::LAYOUT);
            open.push(Table { at, end: node.end as usize, is_layout, n_rows: 0, n_cells: 0, n_bytes: 0, widest: 0 });
        }
        let Some(table) = open.last_mut() else { continue };
        match node.tag {
            Tag::Tr => table.n_rows += 1,
            Tag::Td | Tag::Th => {
                table.n_cells += 1;
                table.n_bytes += u64::from(weights[at].total());
                table.widest = table.widest.max(weights[at].total());
            }
            Tag::Pre | Tag::Xmp | Tag::Listing => table.is_layout = true,
            _ => {}
        }
    }
    for table in open {
        is_data[table.at] = table.is_data();
    }
    is_data
}

struct Table {
    at: usize,
    end: usize,
    is_layout: bool,
    n_rows: u32,
    n_cells: u32,
    n_bytes: u64,
    widest: u32,
}

impl Table {
    /// Cells of data are short, and there are at least two in a row.
    fn is_data(&self) -> bool {
        !self.is_layout
            && self.n_cells > self.n_rows
            && self.widest <= 2000
            && self.n_bytes <= 200 * u64::from(self.n_cells)
    }
}
