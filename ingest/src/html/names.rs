//! Names of elements, and words of `class` and `id`, as numbers that can be compared in one step.
//!
//! Sixteen lower-case bytes fit a `u128`; no element that matters here has a longer name. Comparing numbers instead of
//! strings is what keeps a page of thousands of elements within a millisecond.

/// Longest name that can be packed.
pub(super) const NAME_LEN_MAX: usize = 16;

/// A name of up to sixteen ASCII bytes, lower case; zero for a longer one.
pub(super) const fn pack(name: &[u8]) -> u128 {
    if name.len() > NAME_LEN_MAX {
        return 0;
    }
    let mut packed = 0;
    let mut at = 0;
    while at < name.len() {
        packed = packed << 8 | name[at].to_ascii_lowercase() as u128;
        at += 1;
    }
    packed
}

/// Declares [`Tag`] with one variant per element that is treated in a way of its own.
macro_rules! tags {
    ($($variant:ident $name:literal,)*) => {
        /// What an element is, as far as reading a page needs to know.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Tag {
            $(#[doc = $name] $variant,)*
            /// Any element without a meaning here, custom ones too: its text is read as if it stood outside.
            Other,
            /// A run of characters.
            Text,
            /// The whole page.
            Page,
        }

        impl Tag {
            /// The element of a packed name.
            pub(super) fn of(name: u128) -> Self {
                match name {
                    $(packed::$variant => Self::$variant,)*
                    _ => Self::Other,
                }
            }
        }

        #[expect(non_upper_case_globals, reason = "one constant per variant, of the same name")]
        mod packed {
            $(pub(super) const $variant: u128 = super::pack($name.as_bytes());)*
        }
    };
}

tags! {
    A "a", Address "address", Annotation "annotation", Area "area", Article "article", Aside "aside", Audio "audio",
    B "b", Base "base", Blockquote "blockquote", Body "body", Br "br", Button "button", Canvas "canvas",
    Caption "caption", Center "center", Code "code", Col "col", Colgroup "colgroup", Datalist "datalist", Dd "dd",
    Details "details", Dialog "dialog", Dir "dir", Div "div", Dl "dl", Dt "dt", Em "em", Embed "embed",
    Fieldset "fieldset", Figcaption "figcaption", Figure "figure", Font "font", Footer "footer", Form "form",
    Frame "frame", Frameset "frameset", H1 "h1", H2 "h2", H3 "h3", H4 "h4", H5 "h5", H6 "h6", Head "head",
    Header "header", Hgroup "hgroup", Hr "hr", Html "html", I "i", Iframe "iframe", Img "img", Input "input",
    Li "li", Link "link", Listing "listing", Main "main", Map "map", Math "math", Menu "menu", Meta "meta", Nav "nav",
    Noembed "noembed", Noframes "noframes", Noscript "noscript", Object "object", Ol "ol", Optgroup "optgroup",
    Option "option", P "p", Param "param", Picture "picture", Plaintext "plaintext", Pre "pre", Q "q", Rp "rp",
    Rt "rt", Rtc "rtc", Ruby "ruby", S "s", Script "script", Search "search", Section "section", Select "select",
    Small "small", Source "source", Span "span", Strong "strong", Style "style", Sub "sub", Summary "summary",
    Sup "sup", Svg "svg", Table "table", Tbody "tbody", Td "td", Template "template", Textarea "textarea",
    Tfoot "tfoot", Th "th", Thead "thead", Time "time", Title "title", Tr "tr", Track "track", U "u", Ul "ul",
    Video "video", Wbr "wbr", Xmp "xmp",
}

/// How many variants [`Tag`] has.
pub(super) const N_TAGS: usize = Tag::Page as usize + 1;

impl Tag {
    /// Elements without content and without an end tag.
    pub(super) fn is_void(self) -> bool {
        use Tag::*;
        matches!(
            self,
            Area | Base | Br | Col | Embed | Frame | Hr | Img | Input | Link | Meta | Param | Source | Track | Wbr
        )
    }

    /// Elements whose content is characters up to their own end tag.
    pub(super) fn is_raw(self) -> bool {
        use Tag::*;
        matches!(self, Script | Style | Textarea | Title | Noscript | Iframe | Noembed | Noframes)
    }

    /// Elements that stand on lines of their own.
    pub(super) fn is_block(self) -> bool {
        use Tag::*;
        matches!(
            self,
            Address
                | Article
                | Aside
                | Blockquote
                | Body
                | Caption
                | Center
                | Dd
                | Details
                | Dialog
                | Dir
                | Div
                | Dl
                | Dt
                | Fieldset
                | Figcaption
                | Figure
                | Footer
                | Form
                | H1
                | H2
                | H3
                | H4
                | H5
                | H6
                | Header
                | Hgroup
                | Hr
                | Li
                | Listing
                | Main
                | Menu
                | Nav
                | Ol
                | P
                | Page
                | Pre
                | Search
                | Section
                | Summary
                | Table
                | Tbody
                | Td
                | Tfoot
                | Th
                | Thead
                | Tr
                | Ul
                | Xmp
        )
    }

    /// Blocks whose start tag ends an open paragraph.
    pub(super) fn ends_paragraph(self) -> bool {
        use Tag::*;
        self.is_block() && !matches!(self, Body | Caption | Page | Tbody | Td | Tfoot | Th | Thead | Tr)
    }

    /// The section headings.
    pub(super) fn is_heading(self) -> bool {
        use Tag::*;
        matches!(self, H1 | H2 | H3 | H4 | H5 | H6)
    }

    /// From 1 for `h1` to 6.
    pub(super) fn heading_level(self) -> u8 {
        debug_assert!(self.is_heading(), "only headings have a level");
        self as u8 - Self::H1 as u8 + 1
    }

    /// Elements that keep their line breaks and indentation.
    pub(super) fn is_verbatim(self) -> bool {
        matches!(self, Self::Pre | Self::Listing | Self::Xmp)
    }

    /// Elements that hold no running text whatever is in them.
    pub(super) fn is_never_text(self) -> bool {
        use Tag::*;
        matches!(
            self,
            Audio
                | Button
                | Canvas
                | Datalist
                | Dialog
                | Map
                | Menu
                | Object
                | Optgroup
                | Option
                | Rp
                | Rt
                | Rtc
                | Select
                | Template
                | Video
        )
    }
}
