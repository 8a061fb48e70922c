//! What the attributes of an element say about its part of the page.
//!
//! Authors name their containers: `class="entry-content"`, `id="sidebar"`. A name is cut into words at anything but
//! letters and digits, at numbers, and where a capital follows a small letter; each word is looked up, and so is the
//! whole name with the cuts taken out (`sr-only`, `TRS_Editor`). The lists hold habits of English and of Chinese sites
//! (pinyin included), one word a habit. They are hints: `choose` overrules them where the text says otherwise.

use std::sync::LazyLock;

use super::names::{NAME_LEN_MAX, Tag, pack};

/// A set of hints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hints(u16);

impl Hints {
    /// A reader does not see it.
    pub(super) const HIDDEN: Self = Self(1);
    /// Surroundings of an article: menus, advertisements, teasers, share buttons.
    pub(super) const CLUTTER: Self = Self(2);
    /// What readers wrote under an article.
    pub(super) const COMMENTS: Self = Self(4);
    /// Often surroundings: author lines, dates, side boxes.
    pub(super) const DOUBTFUL: Self = Self(8);
    /// Often the article, or a part of it.
    pub(super) const CONTENT: Self = Self(16);
    /// The body of the article, by a name that means nothing else.
    pub(super) const BODY: Self = Self(32);
    /// The main part of the page.
    pub(super) const MAIN: Self = Self(64);
    /// A mathematical formula that is shown although a picture hides it.
    pub(super) const FORMULA: Self = Self(128);
    /// A table that only arranges things.
    pub(super) const LAYOUT: Self = Self(256);
    /// Marks of a document, not its text: permalinks, line numbers, edit links.
    pub(super) const MARK: Self = Self(512);
    /// A link with an address.
    pub(super) const ADDRESS: Self = Self(1024);
    /// A formula's source in TeX.
    pub(super) const TEX: Self = Self(2048);

    /// What stands under a picture.
    pub(super) const CAPTION: Self = Self(4096);

    /// A pointer to a note, if it is raised.
    pub(super) const REFERENCE: Self = Self(8192);

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Takes in one attribute; `name` is packed and `value` as it stands in the page.
pub(super) fn read_attribute(hints: &mut Hints, tag: Tag, name: u128, value: &str) {
    const CLASS: u128 = pack(b"class");
    const ID: u128 = pack(b"id");
    const ROLE: u128 = pack(b"role");
    const HREF: u128 = pack(b"href");
    const HIDDEN: u128 = pack(b"hidden");
    const ARIA_HIDDEN: u128 = pack(b"aria-hidden");
    const STYLE: u128 = pack(b"style");
    const ITEMPROP: u128 = pack(b"itemprop");
    const TYPE: u128 = pack(b"type");
    const ENCODING: u128 = pack(b"encoding");
    match name {
        // The id of a section is the address of its heading: `navigation` there is what the section is about.
        ID if matches!(tag, Tag::Section | Tag::Dl | Tag::Dt) || tag.is_heading() => {}
        CLASS | ID => hints.add(of_names(value)),
        ROLE => hints.add(of_role(value)),
        HREF if tag == Tag::A && !value.is_empty() => hints.add(Hints::ADDRESS),
        HIDDEN if !value.eq_ignore_ascii_case("until-found") => hints.add(Hints::HIDDEN),
        ARIA_HIDDEN if value.trim().eq_ignore_ascii_case("true") => hints.add(Hints::HIDDEN),
        STYLE if hides(value) => hints.add(Hints::HIDDEN),
        ITEMPROP if value.eq_ignore_ascii_case("articleBody") => hints.add(Hints::BODY),
        TYPE if tag == Tag::Script && value.starts_with("math/tex") => hints.add(Hints::TEX),
        ENCODING if value.eq_ignore_ascii_case("application/x-tex") => hints.add(Hints::TEX),
        _ => {}
    }
}

fn of_role(value: &str) -> Hints {
    match value.trim() {
        "main" => Hints::MAIN,
        "article" | "doc-footnote" | "doc-endnotes" => Hints::CONTENT,
        "navigation" | "banner" | "contentinfo" | "search" | "menu" | "menubar" | "dialog" | "alertdialog"
        | "complementary" | "toolbar" | "tablist" => Hints::CLUTTER,
        "presentation" | "none" => Hints::LAYOUT,
        "doc-noteref" => Hints::REFERENCE,
        _ => Hints::default(),
    }
}

/// Whether a style keeps an element from being shown.
pub(super) fn hides(style: &str) -> bool {
    style.split(';').filter_map(|rule| rule.split_once(':')).any(|(property, value)| {
        let (property, value) = (property.trim(), value.trim());
        let value = value.split_once('!').map_or(value, |(value, _)| value.trim_end());
        property.eq_ignore_ascii_case("display") && value.eq_ignore_ascii_case("none")
            || property.eq_ignore_ascii_case("visibility") && value.eq_ignore_ascii_case("hidden")
    })
}

/// The hints of a `class` or `id`.
pub(super) fn of_names(value: &str) -> Hints {
    let mut hints = Hints::default();
    for name in value.split_ascii_whitespace() {
        hints.add(of_name(name.as_bytes()));
    }
    hints
}

/// One name. A container that has something, or has none of it, or is about it is not what its name says.
fn of_name(name: &[u8]) -> Hints {
    let (mut hints, mut squeezed, mut squeezed_len) = (Hints::default(), 0_u128, 0);
    let mut words = 0;
    let mut at = 0;
    while at < name.len() {
        let (mut word, start) = (0_u128, at);
        while at < name.len() && name[at].is_ascii_alphanumeric() {
            let is_hump = at > start && name[at].is_ascii_uppercase() && name[at - 1].is_ascii_lowercase();
            let is_number = at > start && name[at].is_ascii_digit() != name[at - 1].is_ascii_digit();
            if is_hump || is_number {
                break;
            }
            word = word << 8 | u128::from(name[at].to_ascii_lowercase());
            squeezed = squeezed << 8 | u128::from(name[at].to_ascii_lowercase());
            at += 1;
        }
        let len = at - start;
        squeezed_len += len;
        if len > 0 && len <= NAME_LEN_MAX {
            if words == 0 && is_about_others(word) {
                return Hints::default();
            }
            hints.add(look_up(word));
            words += 1;
        }
        if at < name.len() && !name[at].is_ascii_alphanumeric() {
            at += 1;
        }
    }
    if words > 1 && squeezed_len <= NAME_LEN_MAX {
        hints.add(look_up(squeezed));
    }
    hints
}

fn is_about_others(word: u128) -> bool {
    const HAS: u128 = pack(b"has");
    const NO: u128 = pack(b"no");
    const NOT: u128 = pack(b"not");
    const WITH: u128 = pack(b"with");
    const WITHOUT: u128 = pack(b"without");
    const CATEGORY: u128 = pack(b"category");
    const TAG: u128 = pack(b"tag");
    const STATUS: u128 = pack(b"status");
    matches!(word, HAS | NO | NOT | WITH | WITHOUT | CATEGORY | TAG | STATUS)
}

/// The lists as a hash table: open addressing, at most a quarter full, so a word costs about one probe.
pub(super) static TABLE: LazyLock<Vec<(u128, Hints)>> = LazyLock::new(|| {
    let mut table = vec![(0, Hints::default()); TABLE_LEN];
    for (hint, words) in LISTS {
        for word in words.split_ascii_whitespace() {
            assert!(word.len() <= NAME_LEN_MAX, "{word} is too long to be looked up");
            let word = pack(word.as_bytes());
            let mut slot = slot_of(word);
            while table[slot].0 != 0 && table[slot].0 != word {
                slot = (slot + 1) % TABLE_LEN;
            }
            table[slot].0 = word;
            table[slot].1.add(*hint);
        }
    }
    table
});

pub(super) const TABLE_LEN: usize = 2048;

fn slot_of(word: u128) -> usize {
    let folded = (word as u64) ^ ((word >> 64) as u64).rotate_left(29);
    (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 53) as usize
}

fn look_up(word: u128) -> Hints {
    let table = &**TABLE;
    let mut slot = slot_of(word);
    loop {
        let (listed, hints) = table[slot];
        if listed == word {
            return hints;
        }
        if listed == 0 {
            return Hints::default();
        }
        slot = (slot + 1) % TABLE_LEN;
    }
}

const LISTS: &[(Hints, &str)] = &[
    (
        Hints::HIDDEN,
        "sronly screenreadertext visuallyhidden screenreader screenreaderonly hiddenvisually offscreen \
         assistivetext visuallyhide accessiblyhidden",
    ),
    (
        Hints::CLUTTER,
        "nav navbar navigation navi navheader navfooter navbox navlist subnav topnav mainnav sitenav localnav \
         quicknav menu menus submenu megamenu dropdown breadcrumb breadcrumbs crumb crumbs mbx sidebar sidebars \
         sidepanel siderail footer footers sitefooter pagefooter globalfooter foot sitefoot related relateds \
         relatedposts relatedpost relatedlinks relatedarticles relatednews relatedcontent relatedstories recommend \
         recommends recommended recommendation recommendations share shares sharing sharebar sharebox sharethis \
         sharelinks sharetools sharebuttons sharedaddy jssharetools addthis addtoany social socials socialmedia \
         socialshare socialbar sns ad ads adv advert adverts advertise advertisement advertisements advertising \
         adsense adsbygoogle adslot adbox adwrap adunit adcontent adtext googleads gpt dfp sponsor sponsored \
         sponsors promo promos promotion promotions newsletter newsletters subscribe subscription subscriptions \
         signup signupform mailinglist popup popups modal modals overlay lightbox tooltip popover cookie cookies \
         cookiebar consent gdpr ccpa onetrust pagination pager paginate paging pagenav pagenavi postnav \
         postnavigation prevnext nextprev toolbar toolbars widget widgets masthead topbar topline login signin \
         logon register searchform searchbox searchbar tagcloud tags taglist tagged posttags copyright copyrights \
         outbrain taboola zergnet trending mostread mostpopular popularposts ticker ratings poll feedback jiathis \
         bdshare bshare bdsharebuttonbox fenxiang xiangguan tuijian xgwz xgyd xgnews hotnews rexian paihang ranking \
         guanggao youqinglink friendlink friendlinks qrcode erweima gotop backtop backtotop totop skiplink \
         skiplinks skip jumplinks sphinxsidebar printonly printheader printfooter catlinks mwnavigation siteheader \
         globalheader pageheader navbuttons authorbio authorbox authorcard authorinfo bio aboutauthor aboutauthors \
         readnext readmore morestories morenews moreon moreposts alsoread seealso upnext nextup donate donation \
         inlineshare followus follow supportus crosslinks teasers teaser interstitial toast snackbar mwjumplink \
         noprint sitesub contentsub hatnote mbox ambox languages translations interlang audionative langselector \
         toplang bottomlang quickview playlist carousel",
    ),
    (
        Hints::COMMENTS,
        "comment comments commentlist commentarea commentbox commentform commentbody commentsection commentwrap \
         disqus disqusthread respond replies livefyre fbcomments usercomments postcomments pinglun liuyan gentie \
         trackbacks pingbacks",
    ),
    (
        Hints::DOUBTFUL,
        "header head hd meta metas postmeta entrymeta info infos byline bylines author authors postauthor posted \
         postdate published publishdate pubdate pubtime pubtimeandfrom date dateline datetime timestamp time credit \
         credits source laiyuan tools utility utilities bottom rail aside secondary tertiary supplementary extra \
         extras links linklist next prev previous notice disclaimer mianze shengming more gengduo side box search \
         categories category cats archive archives editor bianji zebian hot latest popular list banner toc \
         tableofcontents contributors callout infobox vertical slider slideshow gallery thumb thumbs thumbnail \
         media video audio player form hide hidden collapse collapsed rating topics keywords label labels summary \
         stats actions buttons btn button card cards",
    ),
    (
        Hints::CONTENT,
        "article articles body content entry hentry main page post posts text txt story blog news detail details \
         prose copy markdown artibody endtext zhengwen wenzhang neirong document doc section column container \
         chapter paragraph paragraphs",
    ),
    (
        Hints::BODY,
        "articlebody articlecontent articletext articlecopy articlemain articlebodytext articledetail articlecont \
         entrycontent entrybody entrytext postcontent postbody posttext postentry storybody storycontent storytext \
         newscontent newstext newsbody newstxt newsdetail contentbody contentarticle bodycontent bodycopy bodytext \
         blogcontent blogbody blogpost singlecontent textcontent fulltext thecontent richmediacontent jscontent \
         trseditor artibody endtext vsbcontent mwparseroutput markdownbody tdpostcontent ucapcontent pagescontent \
         cntmainarticleqq articleinner articlecontents detailcontent maintext rwbzw pdetail contenttext zwnr \
         contentall alltxt",
    ),
    (
        Hints::CAPTION,
        "caption captions figcaption wpcaptiontext imagecaption photocaption figurecaption mediacaption imgcaption \
         piccaption thumbcaption photocredit imagecredit imgcredit",
    ),
    (Hints::MAIN, "maincontent primarycontent maincolumn mainarticle"),
    (Hints::FORMULA, "mathml katexmathml"),
    (
        Hints::MARK,
        "headerlink headeranchor docanchor anchorlink hanchor permalink mweditsection editsection linenos lineno \
         linenumber linenumbers linenums gutter srclink srcrightside mwcitebacklink copybtn copybutton",
    ),
    (Hints::REFERENCE, "reference references noteref footnoteref fnref footnote citation"),
];
