//! The text of a page in MediaWiki's markup, as far as it can be had without running the wiki's templates.
//!
//! Kept: paragraphs, headings, lists (as `- `), tables (a row a line, cells parted by tabs), code, formulas as `$...$`, the
//! words of links, and templates whose argument is part of a sentence. Dropped: other templates, references, comments,
//! files, categories, galleries, magic words. One variant of `-{zh-hans:...;zh-hant:...}-` is taken.
//!
//! One pass with a stack of what is open; what is never closed stays as it was written, as on the wiki. Cost: linear in the
//! page times at most [`DEPTH_MAX`]. Sources: mediawiki.org Help:Formatting, Help:Tables, Help:Links,
//! Writing systems/Syntax.

use std::collections::BTreeSet;

use quick_xml::escape::resolve_html5_entity;

use super::wiki_markup::{conversion_text, link_text, template_text};

/// Markup nested deeper is taken for text.
const DEPTH_MAX: usize = 64;

/// A tag or an entity is no longer.
const TAG_BYTES_MAX: usize = 1024;
const ENTITY_BYTES_MAX: usize = 40;

/// Elements whose content is not text of the article.
const HIDDEN: [&str; 16] = [
    "ref",
    "references",
    "gallery",
    "timeline",
    "score",
    "imagemap",
    "includeonly",
    "graph",
    "mapframe",
    "inputbox",
    "indicator",
    "hiero",
    "categorytree",
    "templatestyles",
    "dynamicpagelist",
    "ics",
];

/// Elements whose content is no markup: code, and formulas.
const VERBATIM: [&str; 7] = ["nowiki", "pre", "syntaxhighlight", "source", "math", "chem", "ce"];

/// Markup that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Page,
    Template,
    Parameter,
    Table,
    Link,
    ExternalLink,
    Conversion,
}

impl Kind {
    fn opener(self) -> &'static str {
        match self {
            Self::Page => "",
            Self::Template => "{{",
            Self::Parameter => "{{{",
            Self::Table => "{|",
            Self::Link => "[[",
            Self::ExternalLink => "[",
            Self::Conversion => "-{",
        }
    }
}

#[derive(Debug)]
struct Frame {
    kind: Kind,
    text: String,
    /// Where bars stood in the text: what they part is known only when the frame is closed.
    bars: Vec<usize>,
    /// Where the cell of a table begins, and whether its attributes may still come.
    cell: usize,
    has_attributes: bool,
    /// The caption of a table is a row of its own.
    is_caption: bool,
}

struct Heading {
    start: usize,
    end: usize,
    level: usize,
}

struct Scanner<'a> {
    rest: &'a str,
    /// The innermost frame last; the page itself is always there.
    frames: Vec<Frame>,
    is_line_start: bool,
    /// The level and beginning of a heading whose line has not ended.
    heading: Option<(usize, usize)>,
    headings: Vec<Heading>,
    /// Elements whose end tag was looked for in vain, so that it isn't looked for again.
    unclosed: BTreeSet<&'static str>,
    hidden: &'a [String],
}

/// The text of a page. `hidden` are the wiki's own names for files and categories, in lower case.
pub(crate) fn wikitext_to_text(wikitext: &str, hidden: &[String]) -> String {
    let mut scanner = Scanner {
        rest: wikitext,
        frames: vec![Frame::new(Kind::Page)],
        is_line_start: true,
        heading: None,
        headings: Vec::new(),
        unclosed: BTreeSet::new(),
        hidden,
    };
    while !scanner.rest.is_empty() {
        scanner.step();
    }
    while scanner.frames.len() > 1 {
        scanner.flatten();
    }
    scanner.end_heading();
    let text = scanner.frames.pop().map_or_else(String::new, |page| page.text);
    without_empty_sections(&text, &scanner.headings)
}

impl Frame {
    fn new(kind: Kind) -> Self {
        Self { kind, text: String::new(), bars: Vec::new(), cell: 0, has_attributes: false, is_caption: false }
    }

    /// Drops what stands at the end, but nothing that stands in front of a bar: where bars stood must stay inside the text.
    fn shorten(&mut self, n_bytes: usize) {
        self.text.truncate(n_bytes.max(self.bars.last().copied().unwrap_or(0)));
    }

    fn parts(&self) -> Vec<&str> {
        let mut parts = Vec::with_capacity(self.bars.len() + 1);
        let mut start = 0;
        for &bar in &self.bars {
            parts.push(&self.text[start..bar]);
            start = bar;
        }
        parts.push(&self.text[start..]);
        parts
    }
}

impl<'a> Scanner<'a> {
    fn step(&mut self) {
        if self.is_line_start && self.begin_line() {
            return;
        }
        self.is_line_start = false;
        let is_special = |char: char| "<{}[]|!-'&\n_)）".contains(char);
        let n_plain = self.rest.find(is_special).unwrap_or(self.rest.len());
        if n_plain > 0 {
            let (plain, rest) = self.rest.split_at(n_plain);
            self.push(plain);
            self.rest = rest;
            return;
        }
        let is_done = match self.rest.as_bytes()[0] {
            b'<' => self.tag(),
            b'{' | b'[' => self.open(),
            b'}' | b']' => self.close(),
            b'|' | b'!' => self.bar(),
            b'-' => self.rest.starts_with("-{") && !self.rest.starts_with("-{{") && self.enter(Kind::Conversion),
            b'\'' => self.apostrophes(),
            b'&' => self.entity(),
            b'\n' => self.end_line(),
            b'_' => self.magic_word(),
            _ => self.close_parenthesis(),
        };
        if !is_done {
            let n_bytes = self.rest.chars().next().map_or(1, char::len_utf8);
            let (literal, rest) = self.rest.split_at(n_bytes);
            self.push(literal);
            self.rest = rest;
        }
    }

    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the page is never popped")
    }

    fn kind(&self) -> Kind {
        self.frames.last().map_or(Kind::Page, |frame| frame.kind)
    }

    fn skip(&mut self, n_bytes: usize) {
        self.rest = &self.rest[n_bytes..];
    }

    fn push(&mut self, text: &str) {
        let frame = self.frame();
        let into = &frame.text;
        // What was dropped leaves one of the spaces around it, none before a comma, and no comma behind a parenthesis.
        let mut text = text;
        if into.ends_with([' ', '\n']) {
            text = text.trim_start_matches(' ');
        }
        if into.ends_with(['(', '（']) {
            text = text.trim_start_matches([' ', ',', ';', '，', '；']);
        }
        if into.ends_with(' ') && [", ", ". ", "; "].iter().any(|mark| text.starts_with(mark)) {
            frame.shorten(into.len() - 1);
        }
        frame.text.push_str(text);
    }

    /// Up to two line ends, so that blocks are parted by a blank line.
    fn push_lines(&mut self, n: usize) {
        let frame = self.frame();
        frame.shorten(frame.text.trim_end_matches([' ', '\t']).len());
        let into = &mut frame.text;
        let n_there = into.len() - into.trim_end_matches('\n').len();
        if !into.is_empty() {
            into.extend(std::iter::repeat_n('\n', n.saturating_sub(n_there)));
        }
    }

    /// Markup that counts only where a line begins; true if it was one.
    fn begin_line(&mut self) -> bool {
        self.is_line_start = false;
        let is_in_table = self.nearest(&[Kind::Template, Kind::Table]) == Some(Kind::Table);
        let indent = self.rest.len() - self.rest.trim_start_matches([' ', '\t', ':']).len();
        let after = &self.rest[indent..];
        if after.starts_with("{|") && self.frames.len() < DEPTH_MAX {
            self.skip(indent);
            self.skip_line();
            self.frames.push(Frame::new(Kind::Table));
            return true;
        }
        if is_in_table && (after.starts_with('|') || after.starts_with('!')) {
            self.skip(indent);
            self.table_line();
            return true;
        }
        if self.kind() != Kind::Page && self.kind() != Kind::Table {
            return false;
        }
        let level = self.rest.bytes().take_while(|&byte| byte == b'=').count();
        if level > 0 && self.kind() == Kind::Page && is_heading(self.rest) {
            self.push_lines(2);
            self.heading = Some((level.min(6), self.frame().text.len()));
            self.skip(level);
            self.rest = self.rest.trim_start_matches([' ', '\t']);
            return true;
        }
        let markers = self.rest.len() - self.rest.trim_start_matches(['*', '#', ':', ';']).len();
        if markers > 0 {
            let is_item = self.rest[..markers].ends_with(['*', '#']);
            self.skip(markers);
            self.rest = self.rest.trim_start_matches([' ', '\t']);
            if is_item && !self.rest.starts_with('\n') {
                self.push("- ");
            }
            return true;
        }
        if self.rest.starts_with("----") {
            self.rest = self.rest.trim_start_matches('-');
            self.push_lines(2);
            return true;
        }
        false
    }

    fn nearest(&self, kinds: &[Kind]) -> Option<Kind> {
        self.frames.iter().rev().map(|frame| frame.kind).find(|kind| kinds.contains(kind))
    }

    fn skip_line(&mut self) {
        let n_bytes = self.rest.find('\n').unwrap_or(self.rest.len());
        self.skip(n_bytes);
    }

    /// `|}`, `|-`, `|+`, `|` or `!` at the beginning of a line inside a table.
    fn table_line(&mut self) {
        while self.kind() != Kind::Table {
            self.flatten();
        }
        if self.rest.starts_with("|}") {
            self.skip(2);
            self.close_table();
            return;
        }
        let is_caption = self.rest.starts_with("|+");
        let is_row = self.rest.starts_with("|-");
        if is_row || is_caption || self.frame().is_caption {
            self.push_lines(1);
        }
        self.frame().is_caption = is_caption;
        if is_row {
            self.skip_line();
            let frame = self.frame();
            frame.cell = frame.text.len();
            frame.has_attributes = false;
        } else {
            self.skip(1 + usize::from(is_caption));
            self.begin_cell();
        }
    }

    fn begin_cell(&mut self) {
        let frame = self.frame();
        frame.shorten(frame.text.trim_end_matches(' ').len());
        if !frame.text.is_empty() && !frame.text.ends_with('\n') {
            frame.text.push('\t');
        }
        frame.cell = frame.text.len();
        frame.has_attributes = true;
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn close_table(&mut self) {
        let Some(table) = self.frames.pop() else { return };
        let rows = table.text.lines().map(str::trim).filter(|row| row.chars().any(char::is_alphanumeric));
        match self.kind() {
            Kind::Page => {
                let rows: Vec<&str> = rows.collect();
                self.push_lines(2);
                self.push(&rows.join("\n"));
                self.push_lines(2);
            }
            // Inside a cell there is one line only.
            _ => {
                let cells: Vec<&str> = rows.flat_map(|row| row.split('\t')).collect();
                self.push(&cells.join(" "));
            }
        }
    }

    fn open(&mut self) -> bool {
        if self.rest.starts_with("[[") {
            return self.enter(Kind::Link);
        }
        let n_braces = self.rest.bytes().take(4).take_while(|&byte| byte == b'{').count();
        match n_braces {
            0 => {
                let address = &self.rest[1..];
                let is_link =
                    ["http://", "https://", "//", "ftp://", "mailto:"].iter().any(|scheme| address.starts_with(scheme));
                is_link && self.enter(Kind::ExternalLink)
            }
            1 => false,
            3 => self.enter(Kind::Parameter),
            _ => self.enter(Kind::Template),
        }
    }

    fn enter(&mut self, kind: Kind) -> bool {
        if self.frames.len() >= DEPTH_MAX {
            return false;
        }
        self.skip(kind.opener().len());
        self.frames.push(Frame::new(kind));
        true
    }

    fn close(&mut self) -> bool {
        let kind = self.kind();
        let is_closed_by = |kind: Kind, rest: &str| match kind {
            Kind::Template => rest.starts_with("}}"),
            Kind::Parameter => rest.starts_with("}}}"),
            Kind::Link => rest.starts_with("]]"),
            Kind::ExternalLink => rest.starts_with(']'),
            Kind::Conversion => rest.starts_with("}-"),
            Kind::Page | Kind::Table => false,
        };
        if is_closed_by(kind, self.rest) {
            return self.leave();
        }
        // What was opened inside and never closed is text, if what is around it is closed here.
        let is_closing =
            |wanted: Kind| self.frames.iter().any(|frame| frame.kind == wanted) && is_closed_by(wanted, self.rest);
        let outer = [Kind::Template, Kind::Link, Kind::Conversion].into_iter().find(|&wanted| is_closing(wanted));
        let Some(outer) = outer.filter(|&outer| {
            outer == Kind::Template || self.nearest(&[outer, Kind::Template, Kind::Table]) == Some(outer)
        }) else {
            return false;
        };
        while self.kind() != outer {
            self.flatten();
        }
        self.leave()
    }

    /// Closes the innermost frame and gives its text to the one around it.
    fn leave(&mut self) -> bool {
        let Some(frame) = self.frames.pop() else { return false };
        let parts = frame.parts();
        let text = match frame.kind {
            Kind::Template => template_text(&parts),
            Kind::Parameter => parts.get(1).map_or_else(String::new, |text| (*text).to_owned()),
            Kind::Link => link_text(&parts, self.hidden),
            Kind::ExternalLink => {
                frame.text.split_once([' ', '\t']).map_or_else(String::new, |(_, text)| text.trim().to_owned())
            }
            Kind::Conversion => conversion_text(&parts),
            Kind::Page | Kind::Table => frame.text,
        };
        self.skip(match frame.kind {
            Kind::Parameter => 3,
            Kind::ExternalLink => 1,
            _ => 2,
        });
        self.push(&text);
        true
    }

    /// Gives up the innermost frame: what was taken for markup is text.
    fn flatten(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        let text = match frame.kind {
            // Cells that a table was never closed behind are still cells.
            Kind::Table => frame.text,
            kind => format!("{}{}", kind.opener(), frame.parts().join("|")),
        };
        self.push(&text);
    }

    fn bar(&mut self) -> bool {
        let is_double = self.rest.starts_with("||") || self.rest.starts_with("!!");
        match self.kind() {
            Kind::Table if is_double => {
                self.skip(2);
                self.begin_cell();
                true
            }
            Kind::Table if self.rest.starts_with('|') && self.frame().has_attributes => {
                self.skip(1);
                let frame = self.frame();
                frame.has_attributes = false;
                frame.text.truncate(frame.cell);
                self.rest = self.rest.trim_start_matches([' ', '\t']);
                true
            }
            Kind::Template | Kind::Parameter | Kind::Link | Kind::Conversion if self.rest.starts_with('|') => {
                self.skip(1);
                let frame = self.frame();
                frame.bars.push(frame.text.len());
                true
            }
            _ => false,
        }
    }

    fn end_line(&mut self) -> bool {
        // Neither an address nor the name of a page goes over a line end.
        while self.kind() == Kind::ExternalLink || (self.kind() == Kind::Link && self.frame().bars.is_empty()) {
            self.flatten();
        }
        let n_lines = self.rest.len() - self.rest.trim_start_matches('\n').len();
        self.skip(n_lines);
        self.is_line_start = true;
        match self.kind() {
            Kind::Page if self.heading.is_some() => self.end_heading(),
            Kind::Page => self.push_lines(n_lines.min(2)),
            Kind::Table => self.push(" "),
            _ => self.push("\n"),
        }
        true
    }

    fn end_heading(&mut self) {
        let Some((level, start)) = self.heading.take() else { return };
        let frame = self.frame();
        frame.shorten(frame.text.trim_end_matches(['=', ' ', '\t']).len().max(start));
        let end = frame.text.len();
        self.headings.push(Heading { start, end, level });
        self.push_lines(2);
    }

    fn apostrophes(&mut self) -> bool {
        let n = self.rest.len() - self.rest.trim_start_matches('\'').len();
        if n < 2 {
            return false;
        }
        self.skip(n);
        let n_literal = if n == 4 { 1 } else { n.saturating_sub(5) };
        self.push(&"'".repeat(n_literal));
        true
    }

    fn entity(&mut self) -> bool {
        let Some(end) = self.rest.bytes().take(ENTITY_BYTES_MAX).position(|byte| byte == b';') else { return false };
        let Some(text) = entity_text(&self.rest[1..end]) else { return false };
        self.push(&text);
        self.skip(end + 1);
        true
    }

    fn magic_word(&mut self) -> bool {
        let Some(word) = self.rest.strip_prefix("__") else { return false };
        let n_letters = word.bytes().take_while(u8::is_ascii_uppercase).count();
        if n_letters == 0 || !word[n_letters..].starts_with("__") {
            return false;
        }
        self.skip(n_letters + 4);
        true
    }

    /// Parentheses in which templates left nothing behind go with them.
    fn close_parenthesis(&mut self) -> bool {
        let (char, opener) = if self.rest.starts_with(')') { (')', '(') } else { ('）', '（') };
        let frame = self.frame();
        let before = frame.text.trim_end_matches([' ', ',', ';', '，', '；', '、', '\u{A0}']);
        // With a bar inside, there are two parts and no parentheses around nothing.
        let is_parted = frame.bars.last().is_some_and(|&bar| bar >= before.len());
        let Some(before) = before.strip_suffix(opener).filter(|_| !is_parted) else { return false };
        let len = before.trim_end_matches(' ').len();
        frame.shorten(len);
        self.skip(char.len_utf8());
        true
    }

    fn tag(&mut self) -> bool {
        if let Some(comment) = self.rest.strip_prefix("<!--") {
            self.rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            return true;
        }
        let is_end = self.rest.starts_with("</");
        let tag = &self.rest[1 + usize::from(is_end)..];
        let n_name = tag.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let name = tag[..n_name].to_ascii_lowercase();
        let Some(n_tag) = tag_len(self.rest).filter(|_| n_name > 0) else { return false };
        let is_empty = self.rest[..n_tag].ends_with("/>");
        self.skip(n_tag);
        let content = |names: &'static [&'static str]| names.iter().copied().find(|known| *known == name);
        if is_end || is_empty {
            self.block_tag(&name);
        } else if let Some(name) = content(&HIDDEN) {
            self.take_content(name);
        } else if let Some(name) = content(&VERBATIM) {
            let text = self.take_content(name);
            self.push_verbatim(name, text.unwrap_or_default());
        } else {
            self.block_tag(&name);
        }
        true
    }

    /// What tags mean for lines; other tags mean nothing here.
    fn block_tag(&mut self, name: &str) {
        let is_table = self.kind() == Kind::Table;
        match name {
            "br" | "td" | "th" if is_table => self.push(" "),
            "br" => self.push_lines(1),
            "p" | "div" | "blockquote" | "center" | "table" | "tr" | "ul" | "ol" | "poem" | "dl" if !is_table => {
                self.push_lines(1);
            }
            "li" | "dd" | "dt" if !is_table => self.push_lines(1),
            "td" | "th" => self.push("\t"),
            _ => {}
        }
    }

    /// What stands up to the end tag, which is passed too; nothing where there is none.
    fn take_content(&mut self, name: &'static str) -> Option<&'a str> {
        if self.unclosed.contains(name) {
            return None;
        }
        let rest = self.rest;
        let mut at = 0;
        while let Some(found) = rest[at..].find("</") {
            at += found + 2;
            let is_name = rest.as_bytes()[at..]
                .get(..name.len())
                .is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()));
            let n_tag = rest[at..].find('>').filter(|_| is_name);
            if let Some(n_tag) = n_tag {
                self.rest = &rest[at + n_tag + 1..];
                return Some(&rest[..at - 2]);
            }
        }
        self.unclosed.insert(name);
        None
    }

    fn push_verbatim(&mut self, name: &str, text: &str) {
        let is_block = !["nowiki", "math", "chem", "ce"].contains(&name) && text.contains('\n');
        if is_block {
            self.push_lines(2);
        }
        let around = if ["math", "chem", "ce"].contains(&name) { "$" } else { "" };
        let text = if around.is_empty() { text.trim_matches('\n') } else { text.trim() };
        let decoded = if text.contains('&') { decode_entities(text) } else { text.to_owned() };
        let into = &mut self.frame().text;
        into.push_str(around);
        into.push_str(&decoded);
        into.push_str(around);
        if is_block {
            self.push_lines(2);
        }
    }
}

fn is_heading(rest: &str) -> bool {
    let line = rest.lines().next().unwrap_or_default();
    // A comment may stand behind it.
    let line = line.split("<!--").next().unwrap_or_default().trim_end();
    line.ends_with('=') && line.len() > 2 && line.contains(|char| char != '=')
}

/// Bytes of the tag that a text begins with; quotes may hold what would end it.
fn tag_len(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, byte) in text.bytes().enumerate().take(TAG_BYTES_MAX) {
        match (quote, byte) {
            (None, b'>') => return Some(index + 1),
            (None, b'<') if index > 0 => return None,
            (None, b'"') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

fn entity_text(name: &str) -> Option<String> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => number.parse(),
        };
        return code.ok().and_then(char::from_u32).filter(|&char| char != '\0').map(String::from);
    }
    match name {
        "nbsp" | "thinsp" | "ensp" | "emsp" => Some(" ".to_owned()),
        "zwj" | "zwnj" | "lrm" | "rlm" | "shy" => Some(String::new()),
        _ => resolve_html5_entity(name).map(str::to_owned),
    }
}

fn decode_entities(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(ENTITY_BYTES_MAX).position(|byte| byte == b';');
        match end.and_then(|end| Some((entity_text(&rest[1..end])?, end))) {
            Some((char, end)) => {
                decoded.push_str(&char);
                rest = &rest[end + 1..];
            }
            None => {
                decoded.push('&');
                rest = &rest[1..];
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

/// Leaves out headings with nothing below them, as where a section held templates only.
fn without_empty_sections(text: &str, headings: &[Heading]) -> String {
    let mut kept: Vec<&Heading> = Vec::new();
    let mut next: Option<&Heading> = None;
    for heading in headings.iter().rev() {
        let below = &text[heading.end..next.map_or(text.len(), |next| next.start)];
        let is_empty = below.trim().is_empty() && kept.last().is_none_or(|after| after.level <= heading.level);
        // What stands below a heading that was left out stands below nothing: there is nothing.
        if !is_empty && heading.end > heading.start {
            kept.push(heading);
        }
        next = Some(heading);
    }
    let kept: BTreeSet<usize> = kept.iter().map(|heading| heading.start).collect();
    let mut without = String::with_capacity(text.len());
    let mut at = 0;
    for heading in headings.iter().filter(|heading| !kept.contains(&heading.start)) {
        without.push_str(text[at..heading.start].trim_end_matches('\n'));
        if !without.is_empty() {
            without.push_str("\n\n");
        }
        at = heading.end;
        at += text[at..].len() - text[at..].trim_start_matches('\n').len();
    }
    without.push_str(&text[at..]);
    without.trim().to_owned()
}
