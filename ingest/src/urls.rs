//! Addresses of web pages: one key for all spellings of an address, and a list of sites that are not wanted.
//!
//! The form that a key is made of: no scheme, user, `www.`, default port, fragment, trailing slash or dot segments; host
//! in lower case; percent-encoding decoded where it was not needed, upper case and UTF-8 where it was; parameters that
//! only track visitors gone, the others in order of their bytes. A fragment that begins with `!` is kept: pages of that
//! kind differ in nothing else. Two pages of one key are the same page on nearly every site; since a server may treat
//! any spelling as it likes, the key is for comparing, never for fetching.
//!
//! A list of blocked sites is one domain or one beginning of an address a line, as the UT1 lists of Toulouse have them. A
//! domain covers what lies below it, an address what continues it after `/` or `?`. It is held as sorted hashes of
//! 128 bits: 16 bytes an entry, and no two different ones agree in practice.

use std::fs;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_128;

use crate::decontaminate::open_lines;

/// Parameters that name a visitor or where they came from, lower case; so does every name that begins with `utm_`.
const TRACKING: [&str; 28] = [
    "_ga",
    "_gl",
    "_hsenc",
    "_hsmi",
    "dclid",
    "fb_action_ids",
    "fb_action_types",
    "fb_source",
    "fbclid",
    "gbraid",
    "gclid",
    "gclsrc",
    "igsh",
    "igshid",
    "jsessionid",
    "mc_cid",
    "mc_eid",
    "mkt_tok",
    "msclkid",
    "phpsessid",
    "ref_src",
    "ref_url",
    "spm",
    "ttclid",
    "twclid",
    "wbraid",
    "wt_mc",
    "yclid",
];

/// Names of the files of a folder in the UT1 layout, and what may stand behind them.
const LIST_NAMES: [&str; 2] = ["domains", "urls"];
const LIST_ENDINGS: [&str; 3] = ["", ".gz", ".zst"];

/// `[ingest.urls]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Urls {
    /// A list of blocked sites, or a folder with files `domains` and `urls` somewhere below it; plain, .gz or .zst. Not
    /// serialised: results depend on what it holds.
    #[serde(skip_serializing)]
    pub blocked: PathBuf,
}

/// A list of blocked sites.
pub struct BlockedUrls {
    keys: Vec<u128>,
    /// Lines that are no address.
    n_unreadable: usize,
}

/// A list that cannot be used.
#[derive(Debug, Error)]
pub enum BlockedUrlsError {
    /// The disk or the decompressor.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It would block nothing.
    #[error("{} holds no list of domains or addresses", path.display())]
    Empty {
        /// The file or folder.
        path: PathBuf,
    },
}

/// The same for all spellings of a page's address; `None` where the text is none of the web.
pub fn url_key(url: &str) -> Option<u128> {
    normalise_url(url).map(|normalised| xxh3_128(normalised.as_bytes()))
}

/// The form that a key is made of, such as `example.com/a?b=1`.
pub fn normalise_url(url: &str) -> Option<String> {
    let url = url.trim();
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => rest,
        // A scheme has no dot; `example.com/?to=http://…` has none of its own.
        Some((scheme, _)) if !scheme.contains(['.', '/', '?']) => return None,
        _ => url.strip_prefix("//").unwrap_or(url),
    };
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    // `mailto:someone@example.com` is no page.
    if authority.contains('@') && !url.contains("//") {
        return None;
    }
    let mut normalised = host(authority)?;
    push_path(&mut normalised, path);
    push_query(&mut normalised, query);
    if fragment.starts_with('!') {
        normalised.push('#');
        push_encoded(&mut normalised, fragment);
    }
    Some(normalised)
}

fn host(authority: &str) -> Option<String> {
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(host);
    let host = host.strip_suffix(':').unwrap_or(host).to_lowercase();
    let host = host.trim_end_matches('.');
    let host = host.strip_prefix("www.").filter(|rest| rest.contains('.')).unwrap_or(host);
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let is_label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|char| char.is_alphanumeric() || matches!(char, '-' | '_') || is_mark(char))
    };
    let is_bracketed = host.starts_with('[');
    let is_name = name.contains('.') && name.split('.').all(is_label) && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_name || is_bracketed).then(|| host.to_owned())
}

/// Vowel signs of names in Indic scripts are no letters.
fn is_mark(char: char) -> bool {
    matches!(char, '\u{300}'..='\u{36F}' | '\u{900}'..='\u{DFF}' | '\u{E00}'..='\u{E7F}')
}

fn push_path(normalised: &mut String, path: &str) {
    let mut segments: Vec<String> = Vec::new();
    for segment in path.split('/') {
        let mut encoded = String::with_capacity(segment.len());
        push_encoded(&mut encoded, segment);
        // `;jsessionid=…` and its like stand behind a segment.
        if let Some((name, _)) = encoded.split_once(';').filter(|(_, parameter)| is_tracking(parameter)) {
            encoded.truncate(name.len());
        }
        match &encoded[..] {
            "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(encoded),
        }
    }
    while segments.last().is_some_and(String::is_empty) {
        segments.pop();
    }
    for segment in segments {
        normalised.push('/');
        normalised.push_str(&segment);
    }
}

fn push_query(normalised: &mut String, query: &str) {
    let encode = |parameter: &str| {
        let mut encoded = String::with_capacity(parameter.len());
        push_encoded(&mut encoded, parameter);
        encoded
    };
    let mut parameters: Vec<String> = query.split('&').map(encode).collect();
    parameters.retain(|parameter| !parameter.is_empty() && !is_tracking(parameter));
    parameters.sort_unstable();
    if !parameters.is_empty() {
        normalised.push('?');
        normalised.push_str(&parameters.join("&"));
    }
}

fn is_tracking(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or(parameter).to_ascii_lowercase();
    name.starts_with("utm_") || TRACKING.binary_search(&name.as_str()).is_ok()
}

/// Letters, digits and the marks that never mean anything stay or become themselves; other bytes that were encoded stay
/// so; what was not ASCII is encoded.
fn push_encoded(normalised: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let bytes = text.as_bytes();
    let mut push_byte = |byte: u8, is_plain: bool| {
        if is_plain {
            normalised.push(char::from(byte));
        } else {
            normalised.extend(['%', char::from(HEX[usize::from(byte >> 4)]), char::from(HEX[usize::from(byte & 15)])]);
        }
    };
    let digit = |at: usize| bytes.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                let byte = (high * 16 + low) as u8;
                push_byte(byte, byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'));
                at += 3;
            }
            (byte, ..) => {
                push_byte(byte, byte.is_ascii_graphic());
                at += 1;
            }
        }
    }
}

impl BlockedUrls {
    /// Reads a list, or all lists of a folder.
    pub fn read(path: &Path) -> Result<Self, BlockedUrlsError> {
        let io_error = |source| BlockedUrlsError::Io { path: path.to_owned(), source };
        let mut files = Vec::new();
        if fs::metadata(path).map_err(io_error)?.is_dir() {
            list_files(path, &mut files)?;
        } else {
            files.push(path.to_owned());
        }
        let mut blocked = Self { keys: Vec::new(), n_unreadable: 0 };
        for file in &files {
            blocked.read_file(file).map_err(|source| BlockedUrlsError::Io { path: file.clone(), source })?;
        }
        blocked.keys.sort_unstable();
        blocked.keys.dedup();
        if blocked.keys.is_empty() {
            return Err(BlockedUrlsError::Empty { path: path.to_owned() });
        }
        Ok(blocked)
    }

    fn read_file(&mut self, path: &Path) -> io::Result<()> {
        // Some of the public lists have lines that are not UTF-8.
        for line in open_lines(path)?.split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match url_key(line.trim_start_matches("*.").trim_start_matches('.')) {
                Some(key) => self.keys.push(key),
                None => self.n_unreadable += 1,
            }
        }
        Ok(())
    }

    /// The entry that covers the address: a domain, or the beginning of an address.
    pub fn find(&self, url: &str) -> Option<String> {
        let normalised = normalise_url(url)?;
        let n_host = normalised.find(['/', '?', '#']).unwrap_or(normalised.len());
        let is_blocked = |entry: &str| self.keys.binary_search(&xxh3_128(entry.as_bytes())).is_ok();
        let host = &normalised[..n_host];
        let parents = host.match_indices('.').map(|(at, _)| &host[at + 1..]);
        let ends = normalised[n_host..].match_indices(['/', '?', '#']).map(|(at, _)| n_host + at).skip(1);
        let beginnings = ends.chain([normalised.len()]).map(|end| &normalised[..end]);
        let entry = std::iter::once(host).chain(parents).chain(beginnings).find(|entry| is_blocked(entry))?;
        Some(entry.to_owned())
    }

    /// Entries, each once.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing is blocked, which [`BlockedUrls::read`] never lets through.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Lines that are neither a domain nor an address.
    pub fn n_unreadable(&self) -> usize {
        self.n_unreadable
    }
}

/// The lists below a folder, in order of their names.
fn list_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), BlockedUrlsError> {
    let io_error = |source| BlockedUrlsError::Io { path: folder.to_owned(), source };
    let mut entries: Vec<_> = fs::read_dir(folder).map_err(io_error)?.collect::<Result<_, _>>().map_err(io_error)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let is_list = LIST_NAMES.iter().any(|list| {
            let ending = name.to_str().and_then(|name| name.strip_prefix(list));
            ending.is_some_and(|ending| LIST_ENDINGS.contains(&ending))
        });
        // A link to a folder could lead back to where it is: only real folders are entered.
        if entry.file_type().map_err(io_error)?.is_dir() {
            list_files(&entry.path(), files)?;
        } else if is_list {
            files.push(entry.path());
        }
    }
    Ok(())
}
