//! Markdown as it is written: only what is not text is taken out.
//!
//! That is the front matter (YAML between `---`, TOML between `+++`), HTML comments and the definitions of link
//! references. Markdown is what models read and write, so headings, lists, tables and code stay as they are, and nothing
//! inside code is touched. Source: CommonMark 0.31, sections 4.5, 4.6 and 4.7. Cost: linear.

/// Front matter is no longer than this many lines; a rule at the top of a text would otherwise swallow all up to the next one.
const FRONT_MATTER_LINES_MAX: usize = 200;

/// Code between backticks is no longer.
const CODE_SPAN_BYTES_MAX: usize = 4096;

/// The text of a Markdown file.
pub(crate) fn clean_markdown(markdown: &str) -> String {
    let mut text = String::with_capacity(markdown.len());
    let mut fence: Option<(char, usize)> = None;
    let mut is_comment = false;
    let mut is_definition = false;
    for line in without_front_matter(markdown).split_inclusive('\n') {
        if let Some((char, length)) = fence {
            fence = fence.filter(|_| !closes_fence(line, char, length));
            text.push_str(line);
            continue;
        }
        if !is_comment {
            if is_definition && is_link_title(line) {
                is_definition = false;
                continue;
            }
            is_definition = is_link_definition(line);
            if is_definition {
                continue;
            }
            fence = opens_fence(line);
        }
        match fence {
            Some(_) => text.push_str(line),
            None => push_without_comments(&mut text, line, &mut is_comment),
        }
    }
    text
}

fn without_front_matter(markdown: &str) -> &str {
    let markdown = markdown.trim_start_matches('\u{FEFF}');
    let Some(rule) =
        ["---", "+++"].into_iter().find(|rule| markdown.lines().next().is_some_and(|line| line.trim_end() == *rule))
    else {
        return markdown;
    };
    let mut rest = markdown;
    for (index, line) in markdown.split_inclusive('\n').enumerate().take(FRONT_MATTER_LINES_MAX) {
        rest = &rest[line.len()..];
        let is_end = line.trim_end() == rule || (rule == "---" && line.trim_end() == "...");
        if index > 0 && is_end {
            return rest;
        }
        // YAML and TOML have no line such as this one: what looked like front matter is a text below a rule.
        if index > 0 && !looks_like_settings(line) {
            return markdown;
        }
    }
    markdown
}

fn looks_like_settings(line: &str) -> bool {
    let text = line.trim();
    text.is_empty() || line.starts_with([' ', '\t', '#', '-', '[', ']', '"', '\'', '}']) || text.contains([':', '='])
}

/// The character and number of a fence that begins a block of code.
fn opens_fence(line: &str) -> Option<(char, usize)> {
    let text = after_indent(line)?;
    let char = text.chars().next().filter(|char| ['`', '~'].contains(char))?;
    let length = text.chars().take_while(|&next| next == char).count();
    let is_fence = length >= 3 && !(char == '`' && text[length..].contains('`'));
    is_fence.then_some((char, length))
}

fn closes_fence(line: &str, char: char, length: usize) -> bool {
    after_indent(line).is_some_and(|text| {
        let text = text.trim_end();
        text.len() >= length && text.chars().all(|next| next == char)
    })
}

/// A line without its indent; nothing where the indent makes it code. Fences inside lists and quotes are indented further.
fn after_indent(line: &str) -> Option<&str> {
    let text = line.trim_start_matches([' ', '>']);
    (line.len() - text.len() < 16).then_some(text)
}

/// `[label]: address "title"`, but neither a footnote nor a task.
fn is_link_definition(line: &str) -> bool {
    let text = line.trim_start_matches(' ');
    let Some(rest) = text.strip_prefix('[').filter(|_| line.len() - text.len() < 4) else { return false };
    let Some((label, rest)) = rest.split_once("]:") else { return false };
    let mut words = rest.trim().splitn(2, char::is_whitespace);
    let address = words.next().unwrap_or_default();
    let title = words.next().unwrap_or_default().trim();
    !label.trim().is_empty()
        && !label.starts_with('^')
        && !label.contains(['[', ']'])
        && !address.is_empty()
        && (title.is_empty() || is_link_title(title))
}

/// The title of a link, which may stand on a line of its own.
fn is_link_title(line: &str) -> bool {
    let text = line.trim();
    let is_between = |open, close| text.len() > 2 && text.starts_with(open) && text.ends_with(close);
    is_between('"', '"') || is_between('\'', '\'') || is_between('(', ')')
}

/// A line outside of comments and, between backticks, as it is.
fn push_without_comments(text: &mut String, line: &str, is_comment: &mut bool) {
    let mut rest = line;
    let before = text.len();
    let was_comment = *is_comment;
    loop {
        if *is_comment {
            let Some(end) = rest.find("-->") else { break };
            rest = &rest[end + 3..];
            *is_comment = false;
        }
        let Some(at) = rest.find(['`', '<']) else {
            text.push_str(rest);
            break;
        };
        let (plain, marked) = rest.split_at(at);
        text.push_str(plain);
        if let Some(comment) = marked.strip_prefix("<!--") {
            *is_comment = true;
            rest = comment;
        } else {
            let length = code_span_len(marked);
            text.push_str(&marked[..length]);
            rest = &marked[length..];
        }
    }
    // A line of which a comment leaves nothing leaves no empty line behind.
    if (was_comment || *is_comment || line.contains("<!--")) && text[before..].trim().is_empty() {
        text.truncate(before);
        return;
    }
    if !text.ends_with('\n') && line.ends_with('\n') {
        text.push('\n');
    }
}

/// The length of the code between backticks that a text begins with, or of its first characters where there is none.
fn code_span_len(text: &str) -> usize {
    let n_ticks = text.bytes().take_while(|&byte| byte == b'`').count();
    if n_ticks == 0 {
        return 1;
    }
    let mut at = n_ticks;
    // A span that is never closed costs no more than this to find out.
    while let Some(found) = text.as_bytes()[at..].iter().take(CODE_SPAN_BYTES_MAX).position(|&byte| byte == b'`') {
        let run = text[at + found..].bytes().take_while(|&byte| byte == b'`').count();
        at += found + run;
        if run == n_ticks {
            return at;
        }
        if at > CODE_SPAN_BYTES_MAX {
            break;
        }
    }
    n_ticks
}
