//! Crawl archives: WARC 0.17 to 1.1 with WET, and ARC 1 and 2.
//!
//! ```text
//! WARC/1.0 CRLF  Name: value CRLF ...  CRLF  <Content-Length bytes>  CRLF CRLF
//! URL IP DATE TYPE [RESULT CHECKSUM LOCATION OFFSET FILE] LENGTH LF  <LENGTH bytes>  LF
//! ```
//!
//! Of the records, those that hold a text are handed out: responses with status 200 to 299 (206 apart, which is a piece),
//! resources and conversions, if they are HTML, XHTML or plain text. Others are passed over, but counted, so that the
//! number in a locator is the record's place in the file. A broken record is a bad one, and reading goes on with the next that
//! can be found: in the next compressed member, or behind the next line that begins a record. Sources: ISO 28500:2017;
//! the Internet Archive's description of ARC (1996). Cost: linear, unless damage has to be read again (bounded).

use std::io::{self, BufRead, BufReader, Read};
use std::mem;

use super::http::{Head, parse_content_type, parse_head};
use super::layers::{Fault, Members};

/// The headers of a record, and those of a response, may be so long.
const HEAD_BYTES_MAX: u64 = 1 << 16;

/// How far into a body of no declared type a tag is looked for.
const SNIFF_BYTES: usize = 512;

/// A text as it was crawled.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Capture {
    /// As it came over the wire.
    pub(crate) body: Vec<u8>,
    pub(crate) head: Head,
    pub(crate) is_page: bool,
    /// Only the beginning was kept.
    pub(crate) is_cut: bool,
    pub(crate) url: Option<String>,
    pub(crate) date: Option<String>,
}

/// An open archive.
pub(super) struct Archive {
    reader: BufReader<Members>,
    n_records: u64,
    /// The first line of the next record, where it has been read already.
    line: Vec<u8>,
    /// The member entered last begins a record that has not been asked for yet.
    is_entered: bool,
    is_end: bool,
    /// Damage at the beginning of a member, to be reported as the next record.
    deferred: Option<io::Error>,
}

/// A record as its first lines describe it.
#[derive(Debug, Default)]
struct Description {
    length: u64,
    /// Its type says that it may hold a text.
    is_wanted: bool,
    is_http: bool,
    is_cut: bool,
    media: Option<String>,
    charset: Option<String>,
    url: Option<String>,
    date: Option<String>,
}

enum Outcome {
    Capture(Box<Capture>),
    PassedOver,
    /// What is wrong, and where its body begins in a file that is not compressed.
    Bad(String, u64),
    End,
}

impl Archive {
    /// `members` must not be joined.
    pub(super) fn new(members: Members) -> Self {
        Self {
            reader: BufReader::with_capacity(1 << 16, members),
            n_records: 0,
            line: Vec::new(),
            is_entered: false,
            is_end: false,
            deferred: None,
        }
    }

    /// Records so far, those passed over among them.
    pub(super) fn n_records(&self) -> u64 {
        self.n_records
    }

    /// The next text, or what is wrong with a record; nothing at the end. Only the disk's own errors are errors.
    pub(super) fn next_capture(&mut self, n_bytes_max: usize) -> io::Result<Option<Result<Box<Capture>, String>>> {
        loop {
            let outcome = self.read_record(n_bytes_max);
            self.n_records += 1;
            let fault = match outcome {
                Ok(Outcome::End) => return Ok(None),
                Ok(Outcome::PassedOver) => continue,
                Ok(Outcome::Capture(capture)) => return Ok(Some(Ok(capture))),
                Ok(Outcome::Bad(what, body_start)) => match self.go_on_behind(body_start) {
                    Ok(()) => return Ok(Some(Err(what))),
                    // Also damaged further on: one bad record says it.
                    Err(error) => self.reader.get_ref().fault(error),
                },
                Err(error) => self.reader.get_ref().fault(error),
            };
            let what = match fault {
                Fault::Disk(error) => return Err(error),
                Fault::Hopeless(what) => {
                    self.is_end = true;
                    what
                }
                Fault::Damaged(what) => {
                    self.forget();
                    self.is_end = !self.reader.get_mut().find_next(begins_record)?;
                    what
                }
            };
            return Ok(Some(Err(what)));
        }
    }

    fn read_record(&mut self, n_bytes_max: usize) -> io::Result<Outcome> {
        let Some(first) = self.first_line()? else { return Ok(Outcome::End) };
        let described = match &first[..] {
            [b'W', b'A', b'R', b'C', b'/', ..] => {
                self.read_lines(HEAD_BYTES_MAX)?.and_then(|(lines, _)| describe_warc(&lines))
            }
            _ => describe_arc(&first),
        };
        let body_start = self.offset();
        let mut record = match described {
            Ok(record) => record,
            Err(what) => return Ok(Outcome::Bad(what, body_start)),
        };
        let capture = match self.read_capture(&mut record, n_bytes_max)? {
            Ok(capture) => capture,
            Err(what) => return Ok(Outcome::Bad(what, body_start)),
        };
        if !self.is_followed_by_record()? {
            return Ok(Outcome::Bad("is longer or shorter than it says".to_owned(), body_start));
        }
        Ok(match capture {
            Some(Ok(capture)) => Outcome::Capture(Box::new(capture)),
            // What is wrong with the body alone does not concern the records behind it.
            Some(Err(what)) => Outcome::Bad(what, self.offset()),
            None => Outcome::PassedOver,
        })
    }

    /// Reads a body to its end. The outer error is one of the record's shape, the inner one of its content.
    #[expect(clippy::type_complexity, reason = "three outcomes that are told apart right where this is called")]
    fn read_capture(
        &mut self,
        record: &mut Description,
        n_bytes_max: usize,
    ) -> io::Result<Result<Option<Result<Capture, String>>, String>> {
        let short = || "ends before its length is reached".to_owned();
        let mut left = record.length;
        let mut head = Head { media: record.media.take(), charset: record.charset.take(), ..Head::default() };
        let mut fault = None;
        if record.is_wanted && record.is_http {
            match self.read_lines(left.min(HEAD_BYTES_MAX))? {
                Ok((lines, n_bytes)) => {
                    left -= n_bytes;
                    match parse_head(&lines) {
                        Ok(parsed) => head = Head { media: parsed.media.clone().or(head.media), ..parsed },
                        Err(what) => fault = Some(what),
                    }
                }
                Err(what) => return Ok(Err(what)),
            }
        }
        let has_status = !record.is_http || ((200..300).contains(&head.status) && head.status != 206);
        let media = head.media.as_deref().map(kind_of);
        let is_wanted = fault.is_none() && record.is_wanted && has_status && media != Some(None);
        let body = match self.read_body(left, if is_wanted { n_bytes_max } else { 0 })? {
            Body::Whole(body) => body,
            Body::Short => return Ok(Err(short())),
            Body::TooLong if is_wanted => return Ok(Ok(Some(Err(format!("is longer than {n_bytes_max} bytes"))))),
            Body::TooLong => Vec::new(),
        };
        if let Some(what) = fault {
            return Ok(Ok(Some(Err(what))));
        }
        let is_page = media.flatten() == Some(Media::Page) || (media.is_none() && has_tags(&body));
        if !is_wanted || !(is_page || media.flatten() == Some(Media::Text)) {
            return Ok(Ok(None));
        }
        let (url, date) = (record.url.take(), record.date.take());
        Ok(Ok(Some(Ok(Capture { body, head, is_page, is_cut: record.is_cut, url, date }))))
    }

    /// After a bad record: the next one in the same member, or the next member. In a file that is not compressed the
    /// search begins where the bad one's body does, since its length cannot be trusted.
    fn go_on_behind(&mut self, body_start: u64) -> io::Result<()> {
        if !self.line.is_empty() && is_first_line(&self.line) {
            return Ok(());
        }
        self.line.clear();
        let is_plain = !self.reader.get_ref().is_compressed();
        if is_plain && self.offset() > body_start && self.reader.get_mut().go_back(body_start)? {
            self.discard_buffer();
            self.is_end = false;
        }
        while self.has_more()? {
            let line = self.read_line(HEAD_BYTES_MAX)?;
            if is_first_line(&line) {
                self.line = line;
                break;
            }
        }
        Ok(())
    }

    /// The line that begins the next record; nothing at the end.
    fn first_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        if !self.line.is_empty() {
            return Ok(Some(mem::take(&mut self.line)));
        }
        loop {
            if let Some(error) = self.deferred.take() {
                return Err(error);
            }
            self.is_entered = false;
            if self.has_more()? {
                let line = self.read_line(HEAD_BYTES_MAX)?;
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(line));
                }
            } else if !self.is_entered {
                return Ok(None);
            }
        }
    }

    /// Whether a record's member, or the file, ends behind it, or another record begins.
    fn is_followed_by_record(&mut self) -> io::Result<bool> {
        while !self.is_end && !self.is_entered && !self.reader.fill_buf()?.is_empty() {
            let line = self.read_line(HEAD_BYTES_MAX)?;
            if !line.trim_ascii().is_empty() {
                self.line = line;
                return Ok(is_first_line(&self.line));
            }
        }
        Ok(true)
    }

    /// Whether the record goes on. A member that begins no record continues the one before it.
    fn has_more(&mut self) -> io::Result<bool> {
        while !self.is_entered && !self.is_end {
            if !self.reader.fill_buf()?.is_empty() {
                return Ok(true);
            }
            let begins = match self.reader.get_mut().next_member() {
                Ok(false) => {
                    self.is_end = true;
                    return Ok(false);
                }
                Ok(true) => self.reader.fill_buf().map(begins_record),
                Err(error) => Err(error),
            };
            match begins {
                Ok(begins) => self.is_entered = begins,
                Err(error) => {
                    self.deferred = Some(error);
                    self.is_entered = true;
                }
            }
        }
        Ok(false)
    }

    /// Up to and with the next line end, or as much of the line as there is room for.
    fn read_line(&mut self, n_bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        while (line.len() as u64) < n_bytes_max && !line.ends_with(b"\n") && self.has_more()? {
            let room = n_bytes_max - line.len() as u64;
            self.reader.by_ref().take(room).read_until(b'\n', &mut line)?;
        }
        Ok(line)
    }

    /// Header lines up to the empty one, continued lines joined, with their length in the file.
    fn read_lines(&mut self, n_bytes_max: u64) -> io::Result<Result<(Vec<String>, u64), String>> {
        let mut lines: Vec<String> = Vec::new();
        let mut n_bytes = 0;
        loop {
            let line = self.read_line(n_bytes_max - n_bytes)?;
            n_bytes += line.len() as u64;
            let is_whole = line.ends_with(b"\n");
            let text = String::from_utf8_lossy(line.trim_ascii_end());
            match lines.last_mut() {
                Some(before) if text.starts_with([' ', '\t']) => before.push_str(&text),
                _ if text.is_empty() => {}
                _ => lines.push(text.clone().into_owned()),
            }
            if n_bytes == HEAD_BYTES_MAX {
                return Ok(Err(format!("has headers longer than {HEAD_BYTES_MAX} bytes")));
            }
            if text.is_empty() || !is_whole {
                return Ok(Ok((lines, n_bytes)));
            }
        }
    }

    fn read_body(&mut self, length: u64, n_bytes_max: usize) -> io::Result<Body> {
        let is_held = length <= n_bytes_max as u64;
        let mut body = Vec::new();
        let mut left = length;
        while left > 0 {
            if !self.has_more()? {
                return Ok(Body::Short);
            }
            let buffer = self.reader.fill_buf()?;
            let n_taken = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if is_held {
                body.extend_from_slice(&buffer[..n_taken]);
            }
            self.reader.consume(n_taken);
            left -= n_taken as u64;
        }
        Ok(if is_held { Body::Whole(body) } else { Body::TooLong })
    }

    fn offset(&self) -> u64 {
        self.reader.get_ref().n_unpacked() - self.reader.buffer().len() as u64
    }

    fn forget(&mut self) {
        self.discard_buffer();
        self.line.clear();
        self.is_entered = false;
        self.deferred = None;
    }

    fn discard_buffer(&mut self) {
        let n_buffered = self.reader.buffer().len();
        self.reader.consume(n_buffered);
    }
}

enum Body {
    Whole(Vec<u8>),
    TooLong,
    Short,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    Page,
    Text,
}

fn kind_of(media: &str) -> Option<Media> {
    match media {
        "text/html" | "application/xhtml+xml" => Some(Media::Page),
        "text/plain" => Some(Media::Text),
        _ => None,
    }
}

fn has_tags(body: &[u8]) -> bool {
    let head = body[..body.len().min(SNIFF_BYTES)].to_ascii_lowercase();
    [&b"<html"[..], b"<!doctype html"].iter().any(|tag| head.windows(tag.len()).any(|window| window == *tag))
}

/// Whether a member begins as a record does.
fn begins_record(bytes: &[u8]) -> bool {
    let bytes = bytes.trim_ascii_start();
    let len = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    is_first_line(&bytes[..len])
}

fn is_first_line(line: &[u8]) -> bool {
    line.starts_with(b"WARC/0.") || line.starts_with(b"WARC/1.") || arc_fields(line).is_some()
}

fn describe_warc(lines: &[String]) -> Result<Description, String> {
    let header = |wanted: &str| {
        let parts = lines.iter().filter_map(|line| line.split_once(':'));
        parts
            .map(|(name, value)| (name.trim(), value.trim()))
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value)
    };
    let length = header("content-length").and_then(|value| value.parse().ok()).ok_or("has no valid Content-Length")?;
    let kind = header("warc-type").unwrap_or_default().to_ascii_lowercase();
    let content_type = header("content-type").unwrap_or_default();
    let is_http = kind == "response" && content_type.trim().to_ascii_lowercase().starts_with("application/http");
    let identified = header("warc-identified-payload-type");
    let (media, charset) = parse_content_type(if is_http { identified.unwrap_or_default() } else { content_type });
    Ok(Description {
        length,
        is_wanted: ["response", "resource", "conversion"].contains(&&kind[..]),
        is_http,
        is_cut: header("warc-truncated").is_some() || header("warc-segment-number").is_some(),
        media,
        charset,
        url: header("warc-target-uri").map(|url| url.trim_start_matches('<').trim_end_matches('>').to_owned()),
        date: header("warc-date").map(str::to_owned),
    })
}

/// The address, date, type and length in the line that begins an ARC record. Addresses may hold spaces, so fields are counted
/// from the end.
fn arc_fields(line: &[u8]) -> Option<[&str; 4]> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let scheme = &line[..line.find(':')?];
    if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let is_date = |text: &str| text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    let fields: Vec<&str> = line.split(' ').collect();
    let from_end = |n: usize| fields.len().checked_sub(n).filter(|&at| at > 0).map(|at| fields[at]);
    for (n_after, n_type) in [(3, 2), (8, 7)] {
        if let (Some(date), Some(_)) = (from_end(n_after).filter(|date| is_date(date)), from_end(n_after + 1)) {
            let n_url: usize = fields[..fields.len() - n_after - 1].iter().map(|field| field.len() + 1).sum();
            return Some([&line[..n_url - 1], date, from_end(n_type)?, from_end(1)?]);
        }
    }
    None
}

fn describe_arc(line: &[u8]) -> Result<Description, String> {
    let [url, date, content_type, length] = arc_fields(line).ok_or("is neither a WARC nor an ARC record")?;
    let length = length.parse().map_err(|_| format!("has no valid length: {length:?}"))?;
    let (media, charset) = parse_content_type(content_type);
    Ok(Description {
        length,
        is_wanted: !url.starts_with("filedesc:"),
        is_http: url.starts_with("http"),
        is_cut: false,
        media,
        charset,
        url: Some(url.to_owned()),
        date: Some(date.to_owned()),
    })
}
