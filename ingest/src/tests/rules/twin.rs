//! Every rule a second time, slow and obvious: strings, sets and maps, written from the papers and from datatrove's
//! definitions, for the fast one to be compared with.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use crate::rules::probe;

/// Words as spaCy's English tokenizer cuts them.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().flat_map(chunk_words).collect()
}

/// Han characters, marks (a run of the same one once), and runs of letters and digits of other scripts.
pub(crate) fn units(text: &str) -> Vec<String> {
    let mut units: Vec<String> = Vec::new();
    let (mut is_in_run, mut previous) = (false, '\n');
    for char in text.chars() {
        let is_ruler = char == previous && !char.is_alphanumeric();
        previous = char;
        let is_syllable = matches!(char, '\u{3040}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' | '\u{AC00}'..='\u{D7A3}');
        let is_run = char.is_alphanumeric() && !crate::language::is_han(char) && !is_syllable;
        match units.last_mut() {
            Some(unit) if is_run && is_in_run => unit.push(char),
            _ if is_ruler || matches!(char, ' ' | '\t' | '\n' | '\u{3000}') => {}
            _ => units.push(char.to_string()),
        }
        is_in_run = is_run;
    }
    units
}

/// The share of parts that stood before and the characters in them.
pub(crate) fn duplicates(parts: &[&str]) -> (f64, usize) {
    let mut seen = HashSet::new();
    let again: Vec<&&str> = parts.iter().filter(|part| !seen.insert(**part)).collect();
    (again.len() as f64 / parts.len().max(1) as f64, again.iter().map(|part| part.chars().count()).sum())
}

/// Share of characters in the most frequent n-gram, the first of several.
pub(crate) fn top_ngram(units: &[String], n: usize, gap: &str, times_min: usize, n_chars: usize) -> f64 {
    let ngrams: Vec<String> = units.windows(n).map(|ngram| ngram.join(gap)).collect();
    let mut counts: HashMap<Vec<&String>, usize> = HashMap::new();
    for ngram in units.windows(n) {
        *counts.entry(ngram.iter().collect()).or_default() += 1;
    }
    let Some(max) = counts.values().max().filter(|&&max| max >= times_min) else { return 0.0 };
    let is_top = |start: &usize| counts[&units[*start..*start + n].iter().collect::<Vec<_>>()] == *max;
    let first = (0..ngrams.len()).find(is_top).expect("one of them is the most frequent");
    share(ngrams[first].chars().count() * max, n_chars).min(1.0)
}

/// Share of characters in n-grams that stood before, each skipped as a whole.
pub(crate) fn duplicate_ngrams(units: &[String], n: usize, n_chars: usize) -> f64 {
    let (mut seen, mut at, mut n_seen) = (HashSet::new(), 0, 0);
    while at + n <= units.len() {
        let ngram = &units[at..at + n];
        if seen.insert(ngram) {
            at += 1;
        } else {
            n_seen += ngram.concat().chars().count();
            at += n;
        }
    }
    share(n_seen, n_chars)
}

pub(crate) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// What C4 leaves of a text, and how many sentences that has, or the rule that drops it.
pub(crate) fn c4(text: &str, only_ends: bool) -> Result<(Vec<String>, usize), &'static str> {
    let (mut kept, mut n_sentences) = (Vec::new(), 0);
    let mut dropped = None;
    for line in text.split('\n').map(str::trim) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.iter().any(|word| word.chars().count() > 1000) {
            continue;
        }
        let mut clean = line.replace("[edit]", "").replace("[citation needed]", "");
        for digits in ["", "0", "1", "12", "123"] {
            clean = clean.replace(&format!("[{digits}]"), "");
        }
        let lower = clean.to_lowercase();
        let is_end = [".", "?", "!", "\"", "'"].iter().any(|end| clean.ends_with(end)) && !clean.ends_with("...");
        let policies =
            ["terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"];
        let n_han = line.chars().filter(|char| ('\u{4E00}'..='\u{9FFF}').contains(char)).count();
        if (only_ends && !is_end) || words.len().max(n_han) < 3 {
            continue;
        }
        if lower.contains("lorem ipsum") {
            dropped = dropped.or(Some("english.c4.lorem_ipsum"));
        }
        if lower.contains("javascript") {
            continue;
        }
        if clean.contains('{') {
            dropped = dropped.or(Some("english.c4.curly_brackets"));
        }
        if policies.iter().any(|policy| lower.contains(policy)) {
            continue;
        }
        n_sentences += sentences(&clean);
        kept.push(clean);
    }
    match dropped {
        Some(rule) => Err(rule),
        None if n_sentences < 5 => Err("english.c4.sentences"),
        None => Ok((kept, n_sentences)),
    }
}

/// A sentence begins after a mark that ends one, at the next word that isn't punctuation alone.
fn sentences(line: &str) -> usize {
    let words = words(line);
    let is_punctuation = |word: &str| {
        word.chars()
            .all(|char| (char.is_ascii_punctuation() && !"$+<=>^`|~".contains(char)) || "“”’‘…—–".contains(char))
    };
    let mut starts = usize::from(!words.is_empty());
    let mut is_after_end = false;
    for word in &words {
        if [".", "!", "?"].contains(&&word[..]) {
            is_after_end = true;
        } else if is_after_end && !is_punctuation(word) {
            starts += 1;
            is_after_end = false;
        }
    }
    starts
}

const OUTER: &str = ",:;!?()[]{}<>_#*&'\"`…¿؟¡。？！，、；：～·।،۔؛٪”“‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧";
const QUOTES: &str = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉⟦⟧";
const CURRENCY: &str = "£€¥฿₽₹₿$";
const SYMBOLS: &str = "©°№™│�🔬";
const UNITS: &str = "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh \
    mph hPa Pa mbar mb MB kb KB gb GB tb TB T G M K %";

fn chunk_words(chunk: &str) -> Vec<String> {
    let (mut middle, mut front, mut back) = (chunk.to_owned(), Vec::new(), Vec::new());
    loop {
        let len = middle.len();
        if middle.is_empty() || probe::exception(&middle).is_some() {
            break;
        }
        let prefix = prefix(&middle);
        let after = middle[prefix.len()..].to_owned();
        if !prefix.is_empty() && probe::exception(&after).is_some() {
            front.push(prefix);
            middle = after;
            break;
        }
        let suffix = suffix(&after);
        let before = middle[..middle.len() - suffix.len()].to_owned();
        if !suffix.is_empty() && probe::exception(&before).is_some() {
            back.insert(0, suffix);
            middle = before;
            break;
        }
        middle = after[..after.len() - suffix.len()].to_owned();
        front.extend(Some(prefix).filter(|prefix| !prefix.is_empty()));
        if !suffix.is_empty() {
            back.insert(0, suffix);
        }
        if middle.len() == len {
            break;
        }
    }
    let middle = match probe::exception(&middle) {
        Some(pieces) => pieces,
        None if middle.is_empty() => Vec::new(),
        None if probe::is_web_address(&middle) => vec![middle],
        None => cut(&middle),
    };
    joined([front, middle, back].concat())
}

fn prefix(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let len = match chars[..] {
        ['.', '.', ..] => chars.iter().take_while(|&&char| char == '.').count(),
        ['U', 'S', '$', ..] => 3,
        ['C' | 'A', '$', ..] => 2,
        ['+', next, ..] if next.is_ascii_digit() => 0,
        [first, ..] if "§%=—–+".contains(first) || [OUTER, CURRENCY, SYMBOLS].concat().contains(first) => 1,
        _ => 0,
    };
    chars[..len].iter().collect()
}

fn suffix(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let is_suffix = |start: usize| {
        let (before, end): (Vec<char>, String) = (chars[..start].to_vec(), chars[start..].iter().collect());
        let last_before = before.last().copied();
        let is_after_digit = last_before.is_some_and(|char| char.is_ascii_digit());
        let letter = |char: char| char.is_alphabetic() && char >= 'À' || char.is_ascii_alphabetic();
        let is_lower = |char: char| letter(char) && !char.is_uppercase();
        let is_upper = |char: char| letter(char) && !char.is_lowercase();
        let dot = match before[..] {
            [.., '°', 'C' | 'F' | 'K' | 'c' | 'f' | 'k'] => true,
            [.., first, last] if is_upper(first) && is_upper(last) => true,
            [.., last] => last.is_ascii_digit() || is_lower(last) || [OUTER, "%²-+|"].concat().contains(last),
            [] => false,
        };
        let mut one = end.chars();
        let is_one = |set: &str| chars.len() - start == 1 && set.contains(chars[start]);
        (end.len() > 1 && one.all(|char| char == '.'))
            || ["……", "'s", "'S", "’s", "’S", "—", "–"].contains(&&end[..])
            || is_one(OUTER)
            || is_one(SYMBOLS)
            || (end == "." && dot)
            || (is_after_digit && (end == "+" || is_one(CURRENCY) || ["US$", "C$", "A$"].contains(&&end[..])))
            || (is_after_digit && UNITS.split_whitespace().any(|unit| unit == end))
    };
    (0..chars.len()).find(|&start| is_suffix(start)).map_or(String::new(), |start| chars[start..].iter().collect())
}

/// Cuts at marks between letters.
fn cut(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let (mut pieces, mut piece, mut at) = (Vec::new(), String::new(), 0);
    while at < chars.len() {
        let len = infix_len(&chars, at);
        if len == 0 || at == 0 {
            piece.extend(&chars[at..at + len.max(1)]);
            at += len.max(1);
            continue;
        }
        pieces.extend(Some(std::mem::take(&mut piece)).filter(|piece| !piece.is_empty()));
        pieces.push(chars[at..at + len].iter().collect());
        at += len;
    }
    pieces.extend(Some(piece).filter(|piece| !piece.is_empty()));
    pieces
}

fn infix_len(chars: &[char], at: usize) -> usize {
    let letter = |char: char| char.is_alphabetic() && char >= 'À' || char.is_ascii_alphabetic();
    let before = at.checked_sub(1).map(|before| chars[before]);
    let after = |len: usize| chars.get(at + len).copied();
    let is_after_letter = before.is_some_and(letter);
    let is_after_word = before.is_some_and(|char| letter(char) || char.is_ascii_digit());
    let n_dots = chars[at..].iter().take_while(|&&char| char == '.').count();
    if n_dots > 1 {
        return n_dots;
    }
    let rest: String = chars[at..].iter().collect();
    let hyphen = ["-", "–", "—", "--", "---", "——", "~"]
        .into_iter()
        .filter(|hyphen| rest.starts_with(hyphen))
        .map(|hyphen| hyphen.chars().count())
        .find(|&len| after(len).is_some_and(letter));
    match chars[at] {
        '…' => 1,
        char if SYMBOLS.contains(char) => 1,
        '+' | '-' | '*' | '^'
            if before.is_some_and(|char| char.is_ascii_digit())
                && after(1).is_some_and(|char| char.is_ascii_digit() || char == '-') =>
        {
            1
        }
        '.' => usize::from(
            before.is_some_and(|char| (letter(char) && !char.is_uppercase()) || QUOTES.contains(char))
                && after(1).is_some_and(|char| (letter(char) && !char.is_lowercase()) || QUOTES.contains(char)),
        ),
        ',' => usize::from(is_after_letter && after(1).is_some_and(letter)),
        ':' | '<' | '>' | '=' | '/' => usize::from(is_after_word && after(1).is_some_and(letter)),
        _ if is_after_word => hyphen.unwrap_or(0),
        _ => 0,
    }
}

/// Pieces that make an exception only together, the longest and then the first of them first; they must be those that the
/// exception is cut into without the list.
fn joined(pieces: Vec<String>) -> Vec<String> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for start in 0..pieces.len() {
        for end in start + 2..=pieces.len().min(start + 9) {
            let word = pieces[start..end].concat();
            if probe::exception(&word).is_some() && cut_without_exceptions(&word) == pieces[start..end] {
                spans.push((start, end));
            }
        }
    }
    spans.sort_by_key(|&(start, end)| (Reverse(end - start), start));
    let mut taken = HashSet::new();
    let mut chosen = HashMap::new();
    for (start, end) in spans {
        if !taken.contains(&start) && !taken.contains(&(end - 1)) {
            chosen.insert(start, end);
        }
        taken.extend(start..end);
    }
    let (mut words, mut at) = (Vec::new(), 0);
    while at < pieces.len() {
        match chosen.get(&at) {
            Some(&end) => {
                words.extend(probe::exception(&pieces[at..end].concat()).expect("chosen for being one"));
                at = end;
            }
            None => {
                words.push(pieces[at].clone());
                at += 1;
            }
        }
    }
    words
}

fn cut_without_exceptions(word: &str) -> Vec<String> {
    let (mut middle, mut front, mut back) = (word.to_owned(), Vec::new(), Vec::new());
    while !middle.is_empty() {
        let prefix = prefix(&middle);
        let suffix = suffix(&middle[prefix.len()..]);
        if prefix.is_empty() && suffix.is_empty() {
            break;
        }
        middle = middle[prefix.len()..middle.len() - suffix.len()].to_owned();
        front.extend(Some(prefix).filter(|prefix| !prefix.is_empty()));
        if !suffix.is_empty() {
            back.insert(0, suffix);
        }
    }
    let middle = if middle.is_empty() { Vec::new() } else { cut(&middle) };
    [front, middle, back].concat()
}
