//! The main text of a web page: title first, paragraphs parted by blank lines, navigation left out.
//!
//! One pass over the page makes a flat tree of elements and texts, as forgiving as browsers are (`tree`, with character
//! references from `entities`); what the names of classes say is looked up once per element (`hints`); weights of texts
//! and links are summed up along the tree (`weigh`); what is most likely the article, or else the whole body, is chosen
//! (`choose`); and the choice is written as lines (`render`). Nothing recurses, and time is linear in the page, so that
//! a page of a million nested elements costs no more than any other of its size.
//!
//! The way of choosing is our own; its parts are known: the article is where long blocks with few links are (Kohlschütter
//! and others, "Boilerplate Detection using Shallow Text Features", 2010), in the element that holds most of them.

mod choose;
mod entities;
mod hints;
mod names;
mod render;
mod tree;
mod weigh;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::SOUP;

use thiserror::Error;

/// A page whose text cannot be had.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HtmlError {
    /// Positions in a page are 32 bits wide.
    #[error("the page has 4 GiB or more")]
    Size,
}

/// What a page says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// One line; empty where the page has none.
    pub title: String,
    /// The main text without the heading that is the title.
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
    let mut choice = choose::choose(&tree);
    let (title, heading) = render::title(&tree, &choice);
    if let Some(heading) = heading {
        choice.dropped[heading] = true;
    }
    let text = render::render(&tree, &choice);
    Ok(Page { title, text, language: tree.language.to_owned() })
}
