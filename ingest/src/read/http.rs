//! What a crawler got from a server: the head of an HTTP/1 response, and its body with the transfer undone.
//!
//! Crawlers store what came over the wire, some of them after decoding it and without saying so. So a body that is not
//! in the coding its head names is taken as it is.

use std::io::{self, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// What decides whether a response is a text, and how its body is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) media: Option<String>,
    pub(crate) charset: Option<String>,
    pub(crate) is_chunked: bool,
    /// Codings in the order in which the server applied them.
    pub(crate) codings: Vec<String>,
}

/// A media type and its character set, as in `text/html; charset=gbk`, both in lower case.
pub(crate) fn parse_content_type(value: &str) -> (Option<String>, Option<String>) {
    let mut parts = value.split(';');
    let media = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['"', '\'']).to_ascii_lowercase())
    });
    (Some(media).filter(|media| !media.is_empty()), charset.filter(|charset| !charset.is_empty()))
}

/// Parses the lines of a head, the first of which is the status line.
pub(crate) fn parse_head(lines: &[String]) -> Result<Head, String> {
    let status_line = lines.first().map_or("", |line| line.as_str());
    let mut words = status_line.split_whitespace();
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/") || word == "ICY");
    let status = words.next().and_then(|word| word.parse().ok());
    let (true, Some(status)) = (is_http, status) else {
        return Err("holds no HTTP response".to_owned());
    };
    let mut head = Head { status, ..Head::default() };
    for (name, value) in lines[1..].iter().filter_map(|line| line.split_once(':')) {
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        match &name[..] {
            "content-type" if head.media.is_none() => (head.media, head.charset) = parse_content_type(value),
            "content-encoding" => {
                head.codings.extend(value.split(',').map(|coding| coding.trim().to_ascii_lowercase()))
            }
            "transfer-encoding" => head.is_chunked |= value.to_ascii_lowercase().contains("chunked"),
            _ => {}
        }
    }
    Ok(head)
}

/// The body without chunks and codings. `is_cut`: the crawler says that it kept only the beginning.
pub(crate) fn decode_body(body: Vec<u8>, head: &Head, is_cut: bool, n_bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut body = if head.is_chunked { join_chunks(body, is_cut)? } else { body };
    for coding in head.codings.iter().rev() {
        body = decode(body, coding, is_cut, n_bytes_max)?;
    }
    Ok(body)
}

fn join_chunks(body: Vec<u8>, is_cut: bool) -> Result<Vec<u8>, String> {
    if chunk_size(&body).is_none() {
        return Ok(body);
    }
    let mut joined = Vec::with_capacity(body.len());
    let mut rest = &body[..];
    while let Some((n_bytes, n_line)) = chunk_size(rest) {
        rest = &rest[n_line..];
        if n_bytes == 0 {
            return Ok(joined);
        }
        joined.extend_from_slice(&rest[..n_bytes.min(rest.len())]);
        rest = &rest[n_bytes.min(rest.len())..];
        rest = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")).unwrap_or(rest);
    }
    if is_cut { Ok(joined) } else { Err("is cut off: its last chunk is missing".to_owned()) }
}

/// The size that a chunk's first line names, and the length of that line.
fn chunk_size(bytes: &[u8]) -> Option<(usize, usize)> {
    let n_line = bytes.iter().take(256).position(|&byte| byte == b'\n')? + 1;
    let line = std::str::from_utf8(&bytes[..n_line]).ok()?;
    let digits = line.split(';').next().unwrap_or_default().trim();
    let is_size = !digits.is_empty() && digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_size.then(|| usize::from_str_radix(digits, 16).ok().map(|size| (size, n_line)))?
}

fn decode(body: Vec<u8>, coding: &str, is_cut: bool, n_bytes_max: usize) -> Result<Vec<u8>, String> {
    let is_zlib = body.first().is_some_and(|first| first & 0x0F == 8)
        && body.get(..2).is_some_and(|header| u16::from_be_bytes([header[0], header[1]]) % 31 == 0);
    let mut decoder: Box<dyn Read + '_> = match coding {
        "gzip" | "x-gzip" if body.starts_with(&[0x1F, 0x8B]) => Box::new(MultiGzDecoder::new(&body[..])),
        "deflate" if is_zlib => Box::new(ZlibDecoder::new(&body[..])),
        "deflate" => Box::new(DeflateDecoder::new(&body[..])),
        "br" => Box::new(brotli_decompressor::Decompressor::new(&body[..], 1 << 14)),
        "zstd" if body.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) => {
            Box::new(zstd::Decoder::with_buffer(&body[..]).map_err(|error| error.to_string())?)
        }
        "gzip" | "x-gzip" | "zstd" | "identity" | "none" | "utf-8" | "" => return Ok(body),
        other => return Err(format!("has a content encoding {other:?} that is not known")),
    };
    let mut decoded = Vec::new();
    let outcome = decoder.by_ref().take(n_bytes_max as u64 + 1).read_to_end(&mut decoded);
    drop(decoder);
    match outcome {
        Ok(_) if decoded.len() > n_bytes_max => Err(format!("is longer than {n_bytes_max} bytes")),
        Ok(_) => Ok(decoded),
        Err(_) if is_cut => Ok(decoded),
        // Neither has a magic number, so text that was decoded before it was stored shows itself only by not decoding.
        Err(_) if ["br", "deflate"].contains(&coding) && looks_like_text(&body) => Ok(body),
        Err(error) => Err(damage(coding, &error)),
    }
}

fn looks_like_text(body: &[u8]) -> bool {
    let head = &body[..body.len().min(256)];
    // A character may be cut at the end.
    let is_utf8 = std::str::from_utf8(head).map_or_else(|error| error.valid_up_to() + 4 > head.len(), |_| true);
    !head.iter().any(|&byte| byte < b'\t') && (is_utf8 || head.trim_ascii_start().starts_with(b"<"))
}

fn damage(coding: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("is cut off: its {coding} data has no end"),
        _ => format!("has damaged {coding} data: {error}"),
    }
}
