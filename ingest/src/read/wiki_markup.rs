//! What MediaWiki shows for a link, a template or a choice of variants, given what stands between their bars.

/// English names of what is shown rather than linked, which every wiki knows, and those that the Chinese one knows.
const HIDDEN: [&str; 12] =
    ["file", "image", "media", "category", "文件", "檔案", "档案", "图像", "圖像", "图片", "分类", "分類"];

/// Variants of Chinese in the order in which they are taken. Simplified goes first, since that is what most pages of a dump
/// are written in.
const VARIANTS: [&str; 10] =
    ["zh-hans", "zh-cn", "zh-sg", "zh-my", "zh", "zh-hant", "zh-tw", "zh-hk", "zh-mo", "zh-classical"];

/// The words of `[[target|words]]`.
pub(super) fn link_text(parts: &[&str], hidden: &[String]) -> String {
    let target = parts[0].trim();
    let words = parts.last().map_or("", |words| words.trim());
    if let Some(shown) = target.strip_prefix(':') {
        return (if parts.len() > 1 && !words.is_empty() { words } else { shown }).to_owned();
    }
    if let Some((prefix, _)) = target.split_once(':') {
        let prefix = prefix.trim().to_lowercase();
        if HIDDEN.contains(&&prefix[..]) || hidden.contains(&prefix) || is_language(&prefix) {
            return String::new();
        }
    }
    (if words.is_empty() { target } else { words }).to_owned()
}

/// Links to the same article in another language stand in a page's margin. The namespaces of a wiki that are as short as a language's
/// code are written in capitals, and are not linked from articles.
fn is_language(prefix: &str) -> bool {
    let first = prefix.split('-').next().unwrap_or_default();
    let is_code =
        (2..=3).contains(&first.len()) && prefix.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    (is_code && !["wp", "mw", "doi", "wdt"].contains(&prefix)) || prefix == "simple"
}

/// The text of a template whose argument is part of a sentence; other templates have none.
pub(super) fn template_text(parts: &[&str]) -> String {
    let name = parts[0].trim().to_lowercase().replace('_', " ");
    let arguments = Arguments::new(&parts[1..]);
    let at = |index: usize| arguments.at(index);
    let first = at(1);
    match &name[..] {
        "lang" | "langx" | "lang-x" | "wikt-lang" | "sfnref" => at(2),
        "transl" | "transliteration" | "tsl" => {
            [at(3), at(2)].into_iter().find(|text| !text.is_empty()).unwrap_or_default()
        }
        "nowrap"
        | "nobr"
        | "nobreak"
        | "small"
        | "smaller"
        | "big"
        | "larger"
        | "resize"
        | "abbr"
        | "tooltip"
        | "nobold"
        | "noitalic"
        | "nobold italic"
        | "em"
        | "strong"
        | "sup"
        | "sub"
        | "smallcaps"
        | "sc"
        | "mono"
        | "code"
        | "kbd"
        | "var"
        | "math"
        | "mvar"
        | "ill"
        | "interlanguage link"
        | "interlanguage link multi"
        | "le"
        | "link"
        | "nihongo"
        | "val"
        | "nts"
        | "gaps"
        | "formatnum"
        | "bold"
        | "center"
        | "font color"
        | "color"
        | "dfn"
        | "linktext"
        | "lt"
        | "flag"
        | "flagcountry"
        | "country"
        | "flagu"
        | "ship"
        | "uss"
        | "hms"
        | "underline"
        | "tq" => first,
        "quote" | "blockquote" | "cquote" | "quotation" | "rquote" | "quote box" | "poemquote" | "bquote" => {
            let named = ["text", "quote"].into_iter().filter_map(|name| arguments.named(name)).next();
            named.unwrap_or(first)
        }
        "convert" | "cvt" => {
            let words: Vec<String> = (1..=4).map(at).collect();
            let is_range = ["-", "–", "to", "and", "by", "x", "to(-)", "or"].contains(&&words[1][..]);
            (if is_range { words.join(" ") } else { words[..2].join(" ") }).trim().to_owned()
        }
        "circa" | "c." => format!("c. {first}"),
        "as of" => format!("As of {}", [first, at(2), at(3)].join(" ").trim()),
        "bd" => format!("（{}{}－{}{}）", first, at(2), at(3), at(4)),
        "snd" | "spaced ndash" | "spnd" | "spaced en dash" | "–" | "ndash" | "endash" => " – ".to_owned(),
        "mdash" | "emdash" | "—" => "—".to_owned(),
        "'" | "`" => "'".to_owned(),
        "=" => "=".to_owned(),
        "·" | "•" | "dot" | "middot" | "bullet" | "\\" => " · ".to_owned(),
        "nbsp" | "spaces" | "space" | "," => " ".to_owned(),
        _ if name.starts_with("lang-") || name.starts_with("link-") || name.starts_with("internal link helper") => {
            first
        }
        _ => String::new(),
    }
}

/// The arguments of a template: by place, or by name.
struct Arguments<'a> {
    placed: Vec<&'a str>,
    named: Vec<(&'a str, &'a str)>,
}

impl<'a> Arguments<'a> {
    fn new(parts: &[&'a str]) -> Self {
        let mut arguments = Self { placed: Vec::new(), named: Vec::new() };
        for part in parts {
            match part.split_once('=') {
                // An address or a formula has an equals sign too, but no name before it.
                Some((name, value))
                    if name.trim().chars().all(|char| char.is_alphanumeric() || " _-".contains(char)) =>
                {
                    arguments.named.push((name.trim(), value.trim()));
                }
                _ => arguments.placed.push(part.trim()),
            }
        }
        arguments
    }

    /// The argument at a place, from 1; empty where there is none.
    fn at(&self, place: usize) -> String {
        self.named(&place.to_string())
            .unwrap_or_else(|| self.placed.get(place - 1).map_or_else(String::new, |text| (*text).to_owned()))
    }

    fn named(&self, name: &str) -> Option<String> {
        self.named.iter().rev().find(|(named, _)| *named == name).map(|(_, value)| (*value).to_owned())
    }
}

/// What is shown of `-{...}-`: a rule of conversion shows one variant, or nothing if it only sets the title or the rule.
pub(super) fn conversion_text(parts: &[&str]) -> String {
    let (flags, body) = match parts {
        [body] => ("", (*body).to_owned()),
        [flags, body @ ..] => (flags.trim(), body.join("|")),
        [] => return String::new(),
    };
    if flags.split(';').any(|flag| ["H", "T", "D", "N", "-"].contains(&flag.trim())) {
        return String::new();
    }
    if flags.split(';').any(|flag| flag.trim() == "R") {
        return body;
    }
    let mut chosen: Option<(usize, &str)> = None;
    for choice in body.split(';') {
        // A rule for one direction reads `from=>variant:to`.
        let choice = choice.rsplit("=>").next().unwrap_or(choice);
        let Some((variant, text)) = choice.split_once(':') else { continue };
        let rank = VARIANTS.iter().position(|known| *known == variant.trim().to_lowercase());
        if let Some(rank) = rank.filter(|rank| chosen.is_none_or(|(best, _)| *rank < best)) {
            chosen = Some((rank, text));
        }
    }
    chosen.map_or(body.clone(), |(_, text)| text.trim().to_owned())
}
