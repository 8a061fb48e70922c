//! The chosen part of a page as lines.
//!
//! Blocks are parted by a blank line, items and rows by a line end; items begin with `- ` or their number, cells are
//! parted by ` | `, `pre` keeps its line breaks and indentation. Between two Han characters a line break of the source
//! is nothing, elsewhere it is a space, as browsers that know about Chinese do. Cost: linear in the part.

use super::choose::Choice;
use super::entities::push_decoded;
use super::hints::Hints;
use super::names::Tag;
use super::tree::{Node, Tree};

/// The text of the chosen part, without blank lines at its ends.
pub(super) fn render(tree: &Tree<'_>, choice: &Choice) -> String {
    let text = text_of(tree, choice, choice.root);
    let mut parts: Vec<String> = Vec::new();
    for part in &choice.lead {
        let lead = text_of(tree, choice, *part);
        // Pages for several sizes of screen bring their summary more than once.
        if !lead.is_empty() && !parts.contains(&lead) && !text.contains(&lead) {
            parts.push(lead);
        }
    }
    parts.push(text);
    parts.join("\n\n")
}

fn text_of(tree: &Tree<'_>, choice: &Choice, part: usize) -> String {
    let mut lines = Lines::default();
    push_part(&mut lines, tree, choice, part);
    lines.text
}

fn push_part(lines: &mut Lines, tree: &Tree<'_>, choice: &Choice, part: usize) {
    let mut open: Vec<Frame> = Vec::new();
    let mut at = part;
    let end = tree.nodes[part].end as usize;
    while at < end {
        while open.last().is_some_and(|frame| frame.end <= at) {
            let frame = open.pop().expect("there is a last one");
            leave(lines, &frame);
        }
        let node = &tree.nodes[at];
        if choice.dropped[at] {
            at = node.end as usize;
            continue;
        }
        match node.tag {
            Tag::Text if node.hints.has(Hints::TEX) => lines.push_formula(tree.source(node)),
            Tag::Text => lines.push_characters(tree.source(node)),
            Tag::Br => lines.end_line(),
            Tag::Math => {
                push_math(lines, tree, at);
                at = node.end as usize;
                continue;
            }
            _ => {
                let frame = enter(lines, node, choice.is_data_table[at], &mut open);
                open.extend(frame);
            }
        }
        at += 1;
    }
    while let Some(frame) = open.pop() {
        leave(lines, &frame);
    }
}

/// The page's title, or the heading that it repeats before or after the name of the site, and that heading's node. A
/// heading in the chosen part goes before longer ones, and these before shorter ones, such as the name of the site.
pub(super) fn title(tree: &Tree<'_>, choice: &Choice) -> (String, Option<usize>) {
    let title = one_line([tree.title]);
    let chosen = choice.root..tree.nodes[choice.root].end as usize;
    let (mut best, mut best_rank) = ((title.clone(), None), (false, 0));
    let (mut at, mut n_headings) = (0, 0);
    // A page has one or two of them; looking for thousands in its title would not be linear any more.
    while at < tree.nodes.len() && n_headings < HEADINGS_MAX {
        let node = &tree.nodes[at];
        if node.tag != Tag::H1 || choice.dropped[at] {
            at += 1;
            continue;
        }
        let heading = heading(tree, choice, at);
        let rank = (choice.root > 0 && chosen.contains(&at), heading.len());
        if !heading.is_empty() && (title.is_empty() || title.contains(&heading)) && rank > best_rank {
            best = (heading, Some(at));
            best_rank = rank;
        }
        at = node.end as usize;
        n_headings += 1;
    }
    best
}

fn heading(tree: &Tree<'_>, choice: &Choice, heading: usize) -> String {
    let mut lines = Lines { is_row: true, ..Lines::default() };
    let mut at = heading + 1;
    while at < tree.nodes[heading].end as usize {
        let node = &tree.nodes[at];
        if choice.dropped[at] {
            at = node.end as usize;
            continue;
        }
        match node.tag {
            Tag::Text => lines.push_characters(tree.source(node)),
            Tag::Br => lines.gap(Gap::Space),
            _ => {}
        }
        at += 1;
    }
    lines.text
}

/// Headings beyond these are not looked at for a title.
const HEADINGS_MAX: usize = 20;

fn one_line<'a>(characters: impl IntoIterator<Item = &'a str>) -> String {
    let mut lines = Lines { is_row: true, ..Lines::default() };
    characters.into_iter().for_each(|characters| lines.push_characters(characters));
    lines.text
}

/// An element that has an effect until its end.
struct Frame {
    end: usize,
    tag: Tag,
    after: Gap,
    /// Number of the next item of a list.
    number: u32,
    is_data_table: bool,
    is_row: bool,
}

/// What stands between two pieces of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    #[default]
    None,
    /// White space that holds a line break of the source.
    Break,
    Space,
    Line,
    Blank,
}

fn gap_of(tag: Tag) -> Gap {
    use Tag::*;
    match tag {
        Li | Tr | Dt | Dd | Td | Th | Caption | Figcaption | Summary => Gap::Line,
        tag if tag.is_block() => Gap::Blank,
        _ => Gap::None,
    }
}

fn enter(lines: &mut Lines, node: &Node, is_data_table: bool, open: &mut [Frame]) -> Option<Frame> {
    let after = gap_of(node.tag);
    let mut frame =
        Frame { end: node.end as usize, tag: node.tag, after, number: node.start, is_data_table, is_row: false };
    let is_in_data =
        || open.iter().rev().find(|frame| frame.tag == Tag::Table).is_some_and(|table| table.is_data_table);
    match node.tag {
        Tag::Tr if !lines.is_row && is_in_data() => {
            lines.gap(Gap::Line);
            lines.begin_row();
            frame.is_row = true;
        }
        Tag::Td | Tag::Th if lines.is_row => {
            lines.next_cell();
            frame.after = Gap::None;
        }
        Tag::Li if !lines.is_row => {
            lines.gap(Gap::Line);
            let list = open.iter_mut().rev().find(|frame| matches!(frame.tag, Tag::Ol | Tag::Ul));
            let number = list.filter(|list| list.tag == Tag::Ol).map(|list| {
                list.number = list.number.saturating_add(1);
                list.number - 1
            });
            lines.begin_item(number);
        }
        tag if tag.is_verbatim() => lines.begin_verbatim(),
        _ => lines.gap(after),
    }
    (frame.after != Gap::None).then_some(frame)
}

fn leave(lines: &mut Lines, frame: &Frame) {
    if frame.is_row {
        lines.is_row = false;
    }
    if frame.tag == Tag::Li && !lines.is_row {
        lines.end_item();
    }
    if frame.tag.is_verbatim() {
        lines.end_verbatim();
    }
    lines.gap(frame.after);
}

/// The text so far, and what is to come before the next piece of it.
#[derive(Default)]
struct Lines {
    text: String,
    pending: Gap,
    /// How many lists' items are open.
    n_items: usize,
    /// The mark of an item that has no text yet.
    item: Option<Option<u32>>,
    n_verbatim: usize,
    /// Whether nothing was written since the start of a verbatim block.
    is_verbatim_start: bool,
    is_row: bool,
    /// Cells of a row that began, and those that have been parted from the ones before.
    n_cells: usize,
    n_cells_parted: usize,
    scratch: String,
}

/// Deeper lists are indented as this one.
const INDENT_MAX: usize = 8;

impl Lines {
    /// At least this much distance to what comes next.
    fn gap(&mut self, gap: Gap) {
        let gap = match gap {
            Gap::Line | Gap::Blank if self.is_row => Gap::Space,
            Gap::Blank if self.n_items > 0 => Gap::Line,
            gap => gap,
        };
        self.pending = self.pending.max(gap);
    }

    fn end_line(&mut self) {
        if self.n_verbatim > 0 {
            self.push_verbatim("\n");
        } else {
            self.gap(Gap::Line);
        }
    }

    fn begin_item(&mut self, number: Option<u32>) {
        self.n_items += 1;
        self.item = Some(number);
    }

    fn end_item(&mut self) {
        self.n_items = self.n_items.saturating_sub(1);
        self.item = None;
    }

    fn begin_row(&mut self) {
        self.is_row = true;
        (self.n_cells, self.n_cells_parted) = (0, 1);
    }

    fn next_cell(&mut self) {
        self.n_cells += 1;
        // Only the end of the row before is more than a space here.
        if self.n_cells > 1 && self.pending <= Gap::Space {
            self.pending = Gap::None;
        }
    }

    fn begin_verbatim(&mut self) {
        self.gap(Gap::Blank);
        self.n_verbatim += 1;
        self.is_verbatim_start = true;
    }

    fn end_verbatim(&mut self) {
        self.n_verbatim -= 1;
        self.is_verbatim_start = false;
        self.trim_end();
    }

    fn trim_end(&mut self) {
        let len = self.text.trim_end_matches(is_blank).len();
        self.text.truncate(len);
    }

    fn push_characters(&mut self, source: &str) {
        let decode = memchr::memchr(b'&', source.as_bytes()).is_some();
        if !decode {
            self.push_decoded(source);
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        push_decoded(&mut scratch, source);
        self.push_decoded(&scratch);
        self.scratch = scratch;
    }

    fn push_decoded(&mut self, characters: &str) {
        if self.n_verbatim > 0 && !self.is_row {
            self.push_verbatim(characters);
        } else {
            self.push_words(characters);
        }
    }

    fn push_words(&mut self, characters: &str) {
        let bytes = characters.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let (len, has_break) = white_space(&bytes[at..]);
            if len > 0 {
                self.gap(if has_break { Gap::Break } else { Gap::Space });
                at += len;
                continue;
            }
            let end = at + bytes[at..].iter().position(|byte| is_white(*byte)).unwrap_or(bytes.len() - at);
            // What may be a no-break space ends the word only if it is one.
            let end = characters[at..end].find('\u{A0}').map_or(end, |found| at + found);
            self.push_word(&characters[at..end]);
            at = end;
        }
    }

    fn push_word(&mut self, word: &str) {
        let is_start = self.pending >= Gap::Line || self.text.is_empty() || self.n_cells_parted < self.n_cells;
        let word = if is_start { word.trim_start_matches('\u{3000}') } else { word };
        if word.is_empty() {
            return;
        }
        self.flush(word.chars().next());
        self.text.push_str(word);
    }

    /// Writes what is pending; `next` is the character to come.
    fn flush(&mut self, next: Option<char>) {
        let pending = std::mem::take(&mut self.pending);
        match pending {
            _ if self.text.is_empty() => {}
            Gap::None => {}
            Gap::Break => {
                let joins = |char: Option<char>| char.is_some_and(is_han);
                if !(joins(self.text.chars().next_back()) && joins(next)) {
                    self.text.push(' ');
                }
            }
            Gap::Space => self.text.push(' '),
            Gap::Line | Gap::Blank => {
                self.trim_end();
                self.text.push_str(if pending == Gap::Line { "\n" } else { "\n\n" });
            }
        }
        let is_line_start = self.text.is_empty() || self.text.ends_with('\n');
        if self.is_row && self.n_cells_parted < self.n_cells {
            let n_parts = self.n_cells - self.n_cells_parted;
            self.trim_end_of_line();
            self.text.push_str(&" | ".repeat(n_parts)[usize::from(is_line_start)..]);
            self.n_cells_parted = self.n_cells;
        } else if is_line_start && self.n_verbatim == 0 && self.n_items > 0 {
            self.begin_line_of_item();
        }
    }

    fn trim_end_of_line(&mut self) {
        let len = self.text.trim_end_matches([' ', '\u{3000}']).len();
        self.text.truncate(len);
    }

    fn begin_line_of_item(&mut self) {
        let item = self.item.take();
        let depth = (self.n_items - usize::from(item.is_some())).min(INDENT_MAX);
        self.text.push_str(&"  ".repeat(depth));
        match item {
            Some(Some(number)) => self.text.push_str(&format!("{number}. ")),
            Some(None) => self.text.push_str("- "),
            None => {}
        }
    }

    fn push_verbatim(&mut self, characters: &str) {
        let mut characters = characters;
        if self.is_verbatim_start {
            characters = characters.trim_start_matches(['\r', '\n']);
            if characters.is_empty() {
                return;
            }
            self.is_verbatim_start = false;
        }
        if self.pending >= Gap::Line {
            self.flush(None);
        }
        self.pending = Gap::None;
        for (index, line) in characters.split('\n').enumerate() {
            if index > 0 {
                self.text.push('\n');
            }
            self.text.push_str(line.trim_end_matches('\r'));
        }
    }

    /// A formula in TeX, between dollar signs.
    fn push_formula(&mut self, tex: &str) {
        let mut decoded = String::new();
        push_decoded(&mut decoded, tex);
        let tex = decoded.split_whitespace().collect::<Vec<_>>().join(" ");
        let inner = tex.strip_prefix("{\\displaystyle ").and_then(|tex| tex.strip_suffix('}')).unwrap_or(&tex);
        if !inner.is_empty() {
            self.push_word(&format!("${}$", inner.trim()));
        }
    }
}

/// A formula in MathML: its source in TeX where it brings that along, else its symbols in a row.
fn push_math(lines: &mut Lines, tree: &Tree<'_>, math: usize) {
    let below = &tree.nodes[math..tree.nodes[math].end as usize];
    if let Some(annotation) = below.iter().find(|node| node.tag == Tag::Annotation && node.hints.has(Hints::TEX)) {
        let at = math + below.iter().position(|node| std::ptr::eq(node, annotation)).expect("it was found there");
        let inside = &tree.nodes[at..annotation.end as usize];
        let tex: String = inside.iter().filter(|node| node.tag == Tag::Text).map(|node| tree.source(node)).collect();
        lines.push_formula(&tex);
        return;
    }
    let mut at = math;
    while at < tree.nodes[math].end as usize {
        let node = &tree.nodes[at];
        if node.tag == Tag::Annotation {
            at = node.end as usize;
            continue;
        }
        if node.tag == Tag::Text {
            lines.push_characters(tree.source(node).trim());
        }
        at += 1;
    }
}

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0C')
}

/// Length of the white space that `bytes` begin with, and whether a line break is in it.
fn white_space(bytes: &[u8]) -> (usize, bool) {
    let (mut at, mut has_break, mut has_space) = (0, false, false);
    loop {
        match bytes[at..] {
            [b'\n' | b'\r', ..] => {
                has_break = true;
                at += 1;
            }
            [b' ' | b'\t' | b'\x0C', ..] => at += 1,
            [0xC2, 0xA0, ..] => {
                has_space = true;
                at += 2;
            }
            _ => return (at, has_break && !has_space),
        }
    }
}

fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\n' | '\u{3000}')
}

/// Characters that a line break of the source does not part from their like.
fn is_han(char: char) -> bool {
    matches!(char, '\u{2E80}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FF60}'
        | '\u{20000}'..='\u{3FFFF}')
}
