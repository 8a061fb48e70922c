//! The main text of a web page: title first, paragraphs parted by blank lines, navigation left out.
//!
//! dom_smoothie (Mozilla's Readability) chooses the part of the page; turning its tree into lines is done here, because
//! the crate's own formatter runs definition lists together. Where it finds no article, or a page so short that it
//! has only one part, the whole body is taken. A page that is nested deeper than browsers allow is refused before it is
//! parsed: several steps cost the square of the depth. What the crate panics on is an unreadable page, not our end (the
//! message that Rust prints about the panic is all that remains of it).

mod choose;
mod entities;
mod hints;
mod names;
mod render;
mod tree;
mod weigh;

use encoding_rs::{Encoding, UTF_8};
use thiserror::Error;

/// How far into a page a declaration of its encoding is looked for, as browsers do.
const DECLARATION_BYTES: usize = 1024;

/// A page whose text cannot be had.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HtmlError {
    /// The bytes are not in the encoding that the page declares, or in UTF-8 where it declares none.
    #[error("the page is not {encoding}{}", if *is_declared { ", which it declares" } else { " and declares no encoding" })]
    Encoding {
        /// The encoding tried.
        encoding: &'static str,
        /// Whether the page itself names it.
        is_declared: bool,
    },
    /// Positions in a page are 32 bits wide.
    #[error("the page has 4 GiB or more")]
    Size,
}

/// Decodes a page: by its byte order mark, else by what it declares, else as UTF-8; never by guessing.
pub fn decode_html(bytes: &[u8]) -> Result<String, HtmlError> {
    let (encoding, bom_len) = Encoding::for_bom(bytes).unwrap_or((UTF_8, 0));
    let (encoding, is_declared) = match declared_encoding(bytes) {
        Some(declared) if bom_len == 0 => (declared, true),
        _ => (encoding, bom_len > 0),
    };
    let text = encoding.decode_without_bom_handling_and_without_replacement(&bytes[bom_len..]);
    text.map(std::borrow::Cow::into_owned).ok_or(HtmlError::Encoding { encoding: encoding.name(), is_declared })
}

/// What a page says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// One line; empty where the page has none.
    pub title: String,
    /// The main text without the title, unless it is the first heading of the text.
    pub text: String,
    /// The language that the page declares, as it stands there; often wrong.
    pub language: String,
}

impl Page {
    /// The title, a blank line and the text; the title once where the text begins with it.
    pub fn titled_text(&self) -> String {
        let first = self.text.lines().next().unwrap_or_default();
        match (self.title.is_empty() || first == self.title, self.text.is_empty()) {
            (true, _) => self.text.clone(),
            (false, true) => self.title.clone(),
            (false, false) => format!("{}\n\n{}", self.title, self.text),
        }
    }
}

/// The main text of a page, its title first; empty where it has none.
pub fn extract_main_text(html: &str) -> Result<String, HtmlError> {
    Ok(extract_page(html)?.titled_text())
}

/// Title, main text and declared language of a page.
pub fn extract_page(html: &str) -> Result<Page, HtmlError> {
    if u32::try_from(html.len()).is_err() {
        return Err(HtmlError::Size);
    }
    let tree = tree::parse(html);
    let choice = choose::choose(&tree);
    let text = render::render(&tree, &choice);
    let title = render::title(&tree);
    Ok(Page { title, text, language: tree.language.to_owned() })
}

fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes[..bytes.len().min(DECLARATION_BYTES)].to_ascii_lowercase();
    let marker = b"charset=";
    let at = head.windows(marker.len()).position(|window| window == marker)? + marker.len();
    let label = head[at..].trim_ascii_start();
    let label = label.strip_prefix(b"\"").or_else(|| label.strip_prefix(b"'")).unwrap_or(label);
    let len = label.iter().position(|byte| b"\"'; />\t\r\n".contains(byte)).unwrap_or(label.len());
    let encoding = Encoding::for_label(&label[..len])?;
    // A declaration that can be read byte by byte isn't in UTF-16, whatever it says.
    Some(if encoding.is_ascii_compatible() { encoding } else { UTF_8 })
}
