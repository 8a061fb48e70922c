//! The elements and characters of a page, in the order of the page, in one flat list.
//!
//! One pass over the bytes, along the lines of the HTML standard's tokenizer and tree construction but for what cannot
//! change the text: there is no `head`, formatting is not reopened after misnesting, and nothing moves out of a table.
//! A node holds where its subtree ends, so a subtree is skipped by a jump and walked by counting up: no later step
//! recurses. Attributes are read once and kept as [`Hints`].
//!
//! Cost: linear. Each byte is looked at by one loop; an end tag looks at no more than [`DEPTH_MAX`] open elements, and
//! a search for a missing end (of a comment, of a script) is made once per kind. Elements nested deeper than
//! [`DEPTH_MAX`] become children of the deepest allowed one, as in browsers.

use memchr::{memchr, memmem};

use super::hints::{Hints, read_attribute};
use super::names::{N_TAGS, NAME_LEN_MAX, Tag, pack};

/// Blink flattens trees from this depth on.
pub(super) const DEPTH_MAX: usize = 512;

/// One element or one run of characters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) tag: Tag,
    pub(super) hints: Hints,
    /// Of a run of characters: whether it is inside of a link. Of `ol`: unused.
    pub(super) is_linked: bool,
    /// Index of the element around it; the page is its own.
    pub(super) parent: u32,
    /// Index of the first node that is not below it.
    pub(super) end: u32,
    /// Where its characters begin in the page; of `ol`, the number that it starts with; otherwise 0.
    pub(super) start: u32,
    /// How many bytes its characters take; otherwise 0.
    pub(super) len: u32,
}

/// A page taken apart.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    pub(super) html: &'a str,
    /// The page itself first, then everything in the order of the page.
    pub(super) nodes: Vec<Node>,
    /// Content of the first `title`, not decoded.
    pub(super) title: &'a str,
    /// `lang` of `html`.
    pub(super) language: &'a str,
}

impl<'a> Tree<'a> {
    /// The characters of a node, not decoded.
    pub(super) fn source(&self, node: &Node) -> &'a str {
        &self.html[node.start as usize..(node.start + node.len) as usize]
    }
}

/// Takes a page of less than 4 GiB apart.
pub(super) fn parse(html: &str) -> Tree<'_> {
    assert!(u32::try_from(html.len()).is_ok(), "positions are 32 bits wide");
    let mut builder = Builder::new(html);
    let bytes = html.as_bytes();
    let (mut at, mut text_start) = (0, 0);
    while let Some(found) = memchr(b'<', &bytes[at..]) {
        let tag_start = at + found;
        let Some(tag_end) = builder.skip_markup_declaration(tag_start) else {
            // A `<` before anything else is a character.
            let is_tag = match bytes.get(tag_start + 1) {
                Some(b'/') => bytes.get(tag_start + 2).is_some_and(u8::is_ascii_alphabetic),
                Some(next) => next.is_ascii_alphabetic(),
                None => false,
            };
            if !is_tag {
                at = tag_start + 1;
                continue;
            }
            builder.add_text(text_start, tag_start);
            at = builder.read_tag(tag_start);
            text_start = at;
            continue;
        };
        builder.add_text(text_start, tag_start);
        (at, text_start) = (tag_end, tag_end);
    }
    builder.add_text(text_start, html.len());
    builder.finish()
}

/// An element that has not ended yet.
#[derive(Clone, Copy)]
struct Open {
    node: u32,
    tag: Tag,
    /// The name, to tell elements of [`Tag::Other`] apart.
    name: u128,
    /// Whether its characters count as a link's.
    is_link: bool,
}

struct Builder<'a> {
    tree: Tree<'a>,
    open: Vec<Open>,
    /// How many of each tag are open.
    n_open: [u16; N_TAGS],
    n_links_open: usize,
    /// Ends that were looked for and are nowhere in the rest of the page.
    has_no_comment_end: bool,
    has_no_end: [bool; N_TAGS],
}

impl<'a> Builder<'a> {
    fn new(html: &'a str) -> Self {
        let page =
            Node { tag: Tag::Page, hints: Hints::default(), is_linked: false, parent: 0, end: 0, start: 0, len: 0 };
        let mut nodes = Vec::with_capacity(html.len() / 40 + 8);
        nodes.push(page);
        let tree = Tree { html, nodes, title: "", language: "" };
        Self {
            tree,
            open: vec![Open { node: 0, tag: Tag::Page, name: 0, is_link: false }],
            n_open: [0; N_TAGS],
            n_links_open: 0,
            has_no_comment_end: false,
            has_no_end: [false; N_TAGS],
        }
    }

    fn finish(mut self) -> Tree<'a> {
        self.close_down_to(0);
        self.tree.nodes[0].end = u32::try_from(self.tree.nodes.len()).expect("no more nodes than bytes");
        self.tree
    }

    /// Comments, doctypes, processing instructions and CDATA; where they end, or nothing if there is none at `start`.
    fn skip_markup_declaration(&mut self, start: usize) -> Option<usize> {
        let rest = &self.tree.html.as_bytes()[start..];
        let len = rest.len();
        match rest.get(1)? {
            b'!' if rest.starts_with(b"<!--") => {
                if rest[4..].starts_with(b">") || rest[4..].starts_with(b"->") {
                    return Some(start + if rest[4] == b'>' { 5 } else { 6 });
                }
                let found = if self.has_no_comment_end { None } else { comment_end(&rest[4..]) };
                self.has_no_comment_end |= found.is_none();
                Some(start + found.map_or(len, |end| end + 4))
            }
            b'!' | b'?' => Some(start + memchr(b'>', rest).map_or(len, |end| end + 1)),
            b'/' if rest.get(2).is_some_and(|next| !next.is_ascii_alphabetic()) => {
                Some(start + memchr(b'>', rest).map_or(len, |end| end + 1))
            }
            _ => None,
        }
    }

    fn add_text(&mut self, start: usize, end: usize) {
        if start < end {
            let is_linked = self.n_links_open > 0;
            self.push(Tag::Text, Hints::default(), is_linked, start, end - start);
        }
    }

    fn push(&mut self, tag: Tag, hints: Hints, is_linked: bool, start: usize, len: usize) -> u32 {
        let narrow = |number: usize| u32::try_from(number).expect("positions are 32 bits wide");
        let node = narrow(self.tree.nodes.len());
        let parent = self.open.last().expect("the page is always open").node;
        let (start, len) = (narrow(start), narrow(len));
        self.tree.nodes.push(Node { tag, hints, is_linked, parent, end: node + 1, start, len });
        node
    }

    /// Reads the tag at `start` and returns where it ends; for a raw element, where its end tag ends.
    fn read_tag(&mut self, start: usize) -> usize {
        let html = self.tree.html;
        let bytes = html.as_bytes();
        let is_end = bytes[start + 1] == b'/';
        let name_start = start + 1 + usize::from(is_end);
        let name_len = bytes[name_start..].iter().take_while(|byte| !ends_name(**byte)).count();
        let name = pack(&bytes[name_start..name_start + name_len]);
        let tag = Tag::of(name);
        let mut attributes = Attributes { html, at: name_start + name_len, is_self_closing: false };
        if is_end {
            while attributes.next().is_some() {}
            self.end_element(tag, name);
            return attributes.at;
        }
        let (mut hints, mut number) = (Hints::default(), 1);
        let mut seen = Seen::default();
        while let Some((attribute, value)) = attributes.next() {
            if !seen.is_first(attribute) {
                continue;
            }
            read_attribute(&mut hints, tag, attribute, value);
            match tag {
                Tag::Html if attribute == LANG && self.tree.language.is_empty() => self.tree.language = value.trim(),
                Tag::Ol if attribute == START => number = value.trim().parse().unwrap_or(1),
                _ => {}
            }
        }
        self.start_element(tag, name, hints, number, &attributes)
    }

    fn start_element(&mut self, tag: Tag, name: u128, hints: Hints, number: u32, attributes: &Attributes<'_>) -> usize {
        let at = attributes.at;
        if tag.is_raw() {
            return self.read_raw(tag, name, hints, at);
        }
        match tag {
            Tag::Html | Tag::Head | Tag::Body | Tag::Frameset => return at,
            Tag::Svg | Tag::Select if attributes.is_self_closing => return at,
            Tag::Svg | Tag::Select => return self.skip_element(tag, name, at),
            Tag::Br | Tag::Hr => {
                self.close_implied(tag);
                self.push(tag, hints, false, 0, 0);
                return at;
            }
            _ if tag.is_void() => return at,
            _ => {}
        }
        self.close_implied(tag);
        if self.open.len() >= DEPTH_MAX {
            return at;
        }
        let start = if tag == Tag::Ol { number as usize } else { 0 };
        let node = self.push(tag, hints, false, start, 0);
        // Foreign elements may close themselves; there is no such thing for the others.
        if attributes.is_self_closing && (tag == Tag::Math || self.n_open[Tag::Math as usize] > 0) {
            return at;
        }
        let is_link = tag == Tag::A && hints.has(Hints::ADDRESS);
        self.open.push(Open { node, tag, name, is_link });
        self.n_open[tag as usize] += 1;
        self.n_links_open += usize::from(is_link);
        at
    }

    /// Skips to the end of a raw element, keeping what can be text: the title, and formulas in scripts.
    fn read_raw(&mut self, tag: Tag, name: u128, hints: Hints, start: usize) -> usize {
        let found = if self.has_no_end[tag as usize] { None } else { raw_end(self.tree.html, start, name) };
        let Some(end) = found else {
            // What never ends is read as if it had not begun, but for code.
            self.has_no_end[tag as usize] = true;
            return if matches!(tag, Tag::Script | Tag::Style) { self.tree.html.len() } else { start };
        };
        if tag == Tag::Title && self.tree.title.is_empty() {
            self.tree.title = &self.tree.html[start..end];
        }
        if tag == Tag::Script && hints.has(Hints::TEX) && start < end {
            self.push(Tag::Text, hints, false, start, end - start);
        }
        let rest = &self.tree.html.as_bytes()[end..];
        end + memchr(b'>', rest).map_or(rest.len(), |at| at + 1)
    }

    /// Skips an element and its descendants, which may be of the same name.
    fn skip_element(&mut self, tag: Tag, name: u128, start: usize) -> usize {
        if self.has_no_end[tag as usize] {
            return start;
        }
        let bytes = self.tree.html.as_bytes();
        let (mut at, mut depth) = (start, 1);
        while let Some(found) = memchr(b'<', &bytes[at..]) {
            at += found + 1;
            let is_end = bytes.get(at) == Some(&b'/');
            if bytes[at..].starts_with(b"!--") && !self.has_no_comment_end {
                let found = comment_end(&bytes[at + 3..]);
                self.has_no_comment_end |= found.is_none();
                at += found.map_or(0, |end| end + 3);
                continue;
            }
            let name_start = at + usize::from(is_end);
            if !is_named(&bytes[name_start.min(bytes.len())..], name) {
                continue;
            }
            let mut attributes =
                Attributes { html: self.tree.html, at: name_start + name_len(name), is_self_closing: false };
            while attributes.next().is_some() {}
            at = attributes.at;
            match (is_end, attributes.is_self_closing) {
                (true, _) => depth -= 1,
                (false, false) => depth += 1,
                (false, true) => {}
            }
            if depth == 0 {
                return at;
            }
        }
        self.has_no_end[tag as usize] = true;
        start
    }

    /// Ends the elements that a start tag ends without saying so.
    fn close_implied(&mut self, tag: Tag) {
        use Tag::*;
        match tag {
            Li => self.close_item(&[Li], &[Ul, Ol, Menu, Dir]),
            Dd | Dt => self.close_item(&[Dd, Dt], &[Dl]),
            Td | Th => self.close_item(&[Td, Th, Caption], &[Tr, Table]),
            Tr => self.close_item(&[Tr, Caption], &[Table]),
            Tbody | Thead | Tfoot => self.close_item(&[Tbody, Thead, Tfoot, Caption], &[Table]),
            Option | Optgroup => self.close_item(&[Option], &[Select, Datalist]),
            Rt | Rp | Rtc => self.close_item(&[Rt, Rp, Rtc], &[Ruby]),
            _ => {}
        }
        if tag.ends_paragraph() && self.n_open[P as usize] > 0 {
            self.end_element(P, pack(b"p"));
        }
        if tag.is_heading() && self.open.last().is_some_and(|open| open.tag.is_heading()) {
            self.close_down_to(self.open.len() - 1);
        }
    }

    /// Ends the innermost of `tags` that is open within the innermost of `limits`.
    fn close_item(&mut self, tags: &[Tag], limits: &[Tag]) {
        if tags.iter().all(|tag| self.n_open[*tag as usize] == 0) {
            return;
        }
        let innermost = self.open.iter().rposition(|open| tags.contains(&open.tag) || limits.contains(&open.tag));
        if let Some(at) = innermost
            && tags.contains(&self.open[at].tag)
        {
            self.close_down_to(at);
        }
    }

    fn end_element(&mut self, tag: Tag, name: u128) {
        if tag.is_void() || (self.n_open[tag as usize] == 0 && !tag.is_heading()) {
            if tag == Tag::Br {
                self.push(Tag::Br, Hints::default(), false, 0, 0);
            }
            return;
        }
        let is_block = tag.is_block();
        for at in (1..self.open.len()).rev() {
            let open = self.open[at];
            let is_it = open.tag == tag && (tag != Tag::Other || open.name == name);
            if is_it || (tag.is_heading() && open.tag.is_heading()) {
                self.close_down_to(at);
                return;
            }
            if is_limit(open.tag, tag) {
                return;
            }
            // Formatting that ends outside of the block it began in loses its effect; the block goes on.
            if !is_block && open.tag.is_block() && tag != Tag::Other {
                self.end_effect(tag, at);
                return;
            }
        }
    }

    /// Ends what a link does although blocks in it are still open.
    fn end_effect(&mut self, tag: Tag, below: usize) {
        if tag == Tag::A
            && let Some(open) = self.open[..below].iter_mut().rfind(|open| open.is_link)
        {
            open.is_link = false;
            self.n_links_open -= 1;
        }
    }

    fn close_down_to(&mut self, depth: usize) {
        let end = u32::try_from(self.tree.nodes.len()).expect("no more nodes than bytes");
        for open in self.open.drain(depth.max(1)..) {
            self.tree.nodes[open.node as usize].end = end;
            self.n_open[open.tag as usize] -= 1;
            self.n_links_open -= usize::from(open.is_link);
        }
    }
}

const LANG: u128 = pack(b"lang");
const START: u128 = pack(b"start");

/// Whether the search for the start of `tag` ends at `open`.
fn is_limit(open: Tag, tag: Tag) -> bool {
    use Tag::*;
    match tag {
        Table => open == Template,
        Tbody | Tfoot | Thead | Tr | Td | Th | Caption => matches!(open, Table | Template),
        Li => matches!(open, Ul | Ol | Table | Td | Th | Caption | Template),
        P => matches!(open, Table | Td | Th | Caption | Template | Button | Object),
        _ => matches!(open, Table | Td | Th | Caption | Template | Object),
    }
}

fn ends_name(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0C' | b'/' | b'>')
}

/// Length of the rest of a comment.
fn comment_end(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memmem::find(&rest[at..], b"--")? + 2;
        match rest.get(at) {
            Some(b'>') => return Some(at + 1),
            Some(b'!') if rest.get(at + 1) == Some(&b'>') => return Some(at + 2),
            // The second dash may be the first of the next two.
            _ => at -= 1,
        }
    }
}

fn name_len(name: u128) -> usize {
    NAME_LEN_MAX - name.leading_zeros() as usize / 8
}

/// Whether a tag's `rest` begins with `name` and nothing that would make the name longer.
fn is_named(rest: &[u8], name: u128) -> bool {
    let len = name_len(name);
    rest.len() >= len && pack(&rest[..len]) == name && rest.get(len).is_none_or(|byte| ends_name(*byte))
}

/// Where the end tag of a raw element begins.
fn raw_end(html: &str, start: usize, name: u128) -> Option<usize> {
    let bytes = html.as_bytes();
    let mut at = start;
    loop {
        at += memmem::find(&bytes[at..], b"</")?;
        if is_named(&bytes[at + 2..], name) {
            return Some(at);
        }
        at += 2;
    }
}

/// The attributes of one tag, up to and including its `>`.
struct Attributes<'a> {
    html: &'a str,
    at: usize,
    is_self_closing: bool,
}

impl<'a> Attributes<'a> {
    /// The next attribute: its packed name and its value as it stands.
    fn next(&mut self) -> Option<(u128, &'a str)> {
        let bytes = self.html.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'>' => {
                    self.at += 1;
                    return None;
                }
                b'/' => {
                    self.is_self_closing = true;
                    self.at += 1;
                }
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => {
                    self.is_self_closing = false;
                    let name = self.name();
                    return Some((name, self.value()));
                }
            }
        }
        None
    }

    fn name(&mut self) -> u128 {
        let bytes = &self.html.as_bytes()[self.at..];
        // The first byte belongs to the name even if it is an equals sign.
        let len = bytes.iter().skip(1).take_while(|byte| !ends_name(**byte) && **byte != b'=').count() + 1;
        self.at += len;
        pack(&bytes[..len])
    }

    fn value(&mut self) -> &'a str {
        let bytes = self.html.as_bytes();
        let is_space = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_whitespace);
        let mut at = self.at;
        while is_space(at) {
            at += 1;
        }
        if bytes.get(at) != Some(&b'=') {
            return "";
        }
        at += 1;
        while is_space(at) {
            at += 1;
        }
        let rest = &bytes[at.min(bytes.len())..];
        match rest.first() {
            Some(quote @ (b'"' | b'\'')) => {
                let len = memchr(*quote, &rest[1..]).unwrap_or(rest.len() - 1);
                self.at = (at + len + 2).min(bytes.len());
                &self.html[at + 1..at + 1 + len]
            }
            _ => {
                let len = rest.iter().take_while(|byte| !byte.is_ascii_whitespace() && **byte != b'>').count();
                self.at = at + len;
                &self.html[at..at + len]
            }
        }
    }
}

/// Which of the attributes that matter a tag has had already: of two of the same name only the first counts.
#[derive(Default)]
struct Seen(u16);

impl Seen {
    fn is_first(&mut self, attribute: u128) -> bool {
        const NAMES: [u128; 11] = [
            pack(b"class"),
            pack(b"id"),
            pack(b"role"),
            pack(b"href"),
            pack(b"hidden"),
            pack(b"aria-hidden"),
            pack(b"style"),
            pack(b"itemprop"),
            pack(b"type"),
            pack(b"encoding"),
            LANG,
        ];
        let Some(at) = NAMES.iter().position(|name| *name == attribute) else { return true };
        let is_first = self.0 & 1 << at == 0;
        self.0 |= 1 << at;
        is_first
    }
}
