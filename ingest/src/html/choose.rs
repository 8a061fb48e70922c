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
    let bare = dropped.clone();
    let weights = weigh(tree, &characters, &dropped);
    drop_surroundings(tree, &weights, &mut dropped);
    let weights = weigh(tree, &characters, &dropped);
    let root = narrow(tree, &weights, &dropped);
    let lead = lead(tree, &weights, &dropped, root);
    let unpruned = dropped.clone();
    prune(tree, root, &weights, &mut dropped);
    let pruned = weigh(tree, &characters, &dropped);
    if pruned[root].prose >= PROSE_MIN || pruned[root].total() * 2 > weights[root].total() {
        drop_orphans(tree, root, &pruned, &unpruned, &mut dropped);
        drop_datelines(tree, root, &pruned, &mut dropped);
        let is_data_table = data_tables(tree, &pruned);
        return Choice { lead, root, dropped, is_data_table };
    }
    let dropped = if weights[0].total() > 0 { unpruned } else { bare };
    let root = if weights[root].total() > 0 { root } else { 0 };
    let weights = weigh(tree, &characters, &dropped);
    let is_data_table = data_tables(tree, &weights);
    Choice { lead: Vec::new(), root, dropped, is_data_table }
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
        // Line numbers have a cell of their own, or are asked for by a class of the code itself.
        let can_be_mark = (!node.tag.is_block() && node.tag != Tag::Code) || node.tag == Tag::Td;
        let is_mark = node.hints.has(Hints::MARK) && can_be_mark;
        let is_reference = node.hints.has(Hints::REFERENCE) && node.tag == Tag::Sup;
        node.tag.is_never_text() || is_hidden || is_mark || is_reference
    });
}

fn drop_surroundings(tree: &Tree<'_>, weights: &[Weight], dropped: &mut [bool]) {
    let all = weights[0].prose;
    let (mut left, mut protected_end) = (all, 0);
    drop_where(tree, 0, dropped, |at, node| {
        // Colours of code and anchors of headings have names of their own, which mean nothing.
        if at < protected_end || node.tag == Tag::Text {
            return false;
        }
        if node.tag.is_verbatim() || node.tag.is_heading() || node.tag == Tag::Code {
            protected_end = node.end as usize;
        }
        let weight = weights[at];
        let is_dropped = match surrounding(weights, node, weight) {
            Surrounding::None => false,
            Surrounding::Comments => left - weight.prose >= PROSE_MIN || weight.prose == 0,
            Surrounding::Likely => weight.prose * 2 <= all,
            Surrounding::Doubtful => weight.n_headings == 0 && weight.prose < 60,
        };
        if is_dropped {
            left -= weight.prose;
        }
        is_dropped
    });
}

/// How sure it is that an element is not of the article.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Surrounding {
    None,
    Doubtful,
    Likely,
    Comments,
}

fn surrounding(weights: &[Weight], node: &Node, weight: Weight) -> Surrounding {
    use Tag::*;
    let is_clutter = node.hints.has(Hints::CLUTTER) || (node.hints.has(Hints::CAPTION) && node.tag != Caption);
    let is_doubtful = node.hints.has(Hints::DOUBTFUL) || matches!(node.tag, Header | Form);
    // Dates and names in a sentence or a table are part of it.
    let is_part = matches!(node.tag, Td | Th | Tr | Tbody | Thead | Tfoot | Table | Caption)
        || (!node.tag.is_block() && weights[node.parent as usize].prose > 0);
    match node.tag {
        _ if node.hints.has(Hints::COMMENTS) => Surrounding::Comments,
        Aside if node.hints.has(Hints::CONTENT) => Surrounding::None,
        Nav | Footer | Aside | Figcaption => Surrounding::Likely,
        Article | Main => Surrounding::None,
        _ if is_clutter && !node.hints.has(Hints::BODY) && weight.n_verbatim == 0 => Surrounding::Likely,
        _ if is_doubtful && !is_part && !node.hints.has(Hints::CONTENT) => Surrounding::Doubtful,
        _ => Surrounding::None,
    }
}

/// The element that holds the article.
fn narrow(tree: &Tree<'_>, weights: &[Weight], dropped: &[bool]) -> usize {
    let mut root = 0;
    let is_main: fn(&Node) -> bool = |node| node.tag == Tag::Main || node.hints.has(Hints::MAIN);
    let is_article: fn(&Node) -> bool = |node| node.tag == Tag::Article;
    let is_body: fn(&Node) -> bool = |node| node.hints.has(Hints::BODY);
    for is_candidate in [is_main, is_article, is_body, is_body] {
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
    let least = weights[root].prose - weights[root].prose / 5;
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
    let (mut n_bytes, mut line) = (0, String::new());
    while at < root {
        let (node, weight) = (&tree.nodes[at], weights[at]);
        let ends_before = node.end as usize <= root;
        if ends_before && (dropped[at] || weight.text < 40) {
            at = node.end as usize;
            continue;
        }
        let is_leaf = ends_before && node.tag.is_block() && is_line(tree, at, &mut line);
        if is_leaf {
            let is_text = weight.marks > 0 && weight.link * 3 < weight.text;
            if is_text && !(weight.total() <= LINE_BYTES_MAX && is_dateline(&line)) {
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
    if weights[root].link > weights[root].text {
        return;
    }
    drop_where(tree, root, dropped, |at, node| {
        let weight = weights[at];
        let is_part = matches!(node.tag, Tag::Td | Tag::Th | Tag::Tr | Tag::Li) || node.tag.is_heading();
        let is_links = if node.tag == Tag::P { weight.link > weight.text * 4 } else { weight.link > weight.text * 2 };
        node.tag.is_block() && !is_part && is_links && weight.prose == 0
    });
}

/// Drops headings above nothing but what was pruned.
fn drop_orphans(tree: &Tree<'_>, root: usize, weights: &[Weight], unpruned: &[bool], dropped: &mut [bool]) {
    // Going backwards: the level of the heading that comes next; 0 for the end, 7 for text.
    let (mut next, mut is_pruned) = (0, true);
    let nodes = root + 1..tree.nodes[root].end as usize;
    let mut ends = vec![];
    let mut at = nodes.start;
    while at < nodes.end {
        if dropped[at] {
            if !unpruned[at] {
                ends.push((at, true));
            }
            at = tree.nodes[at].end as usize;
            continue;
        }
        let tag = tree.nodes[at].tag;
        if (tag.is_heading() || tag == Tag::Text) && weights[at].total() > 0 {
            ends.push((at, false));
            at = tree.nodes[at].end as usize;
            continue;
        }
        at += 1;
    }
    for (at, was_pruned) in ends.into_iter().rev() {
        let tag = tree.nodes[at].tag;
        if was_pruned {
            is_pruned = true;
        } else if !tag.is_heading() {
            (next, is_pruned) = (7, false);
        } else if next <= tag.heading_level() && is_pruned {
            dropped[at] = true;
        } else {
            (next, is_pruned) = (tag.heading_level(), false);
        }
    }
}

/// Drops lines above the first paragraph that name the author or the time.
fn drop_datelines(tree: &Tree<'_>, root: usize, weights: &[Weight], dropped: &mut [bool]) {
    if weights[root].prose < PROSE_MIN {
        return;
    }
    let (mut has_begun, mut line) = (false, String::new());
    drop_where(tree, root, dropped, |at, node| {
        if has_begun || !node.tag.is_block() || !is_line(tree, at, &mut line) {
            return false;
        }
        has_begun = weights[at].prose > 0;
        !has_begun && !node.tag.is_heading() && weights[at].total() <= LINE_BYTES_MAX && is_dateline(&line)
    });
}

/// Longer lines are sentences.
const LINE_BYTES_MAX: u32 = 120;

/// Writes the beginning of a block's characters to `line`, if the block holds no other blocks.
fn is_line(tree: &Tree<'_>, block: usize, line: &mut String) -> bool {
    line.clear();
    for node in &tree.nodes[block + 1..tree.nodes[block].end as usize] {
        if node.tag.is_block() {
            return false;
        }
        if node.tag == Tag::Text && line.len() < 2 * LINE_BYTES_MAX as usize {
            line.push_str(tree.source(node));
        }
    }
    true
}

/// `By Jane Doe`, `2012年12月10日`, `Nov. 18, 2019 at 4:07 PM`; not what ends like a sentence.
fn is_dateline(line: &str) -> bool {
    let line = line.trim();
    if line.ends_with(['.', '。', '!', '！', '?', '？', ':', '：', '”', '"']) {
        return false;
    }
    let names =
        ["By ", "by ", "BY ", "作者", "记者", "記者", "文/", "文／", "来源", "來源", "编辑", "編輯", "责任编辑"];
    let has_number = |is_number: fn(&str) -> bool| line.split(|char: char| !char.is_ascii_digit()).any(is_number);
    names.iter().any(|name| line.starts_with(name))
        || has_number(|number| number.len() == 4 && (number.starts_with("19") || number.starts_with("20")))
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
