//! What a person may have meant by a name or a number that doesn't work.

/// The known name that is most like `name`: fewest letters added, left out or changed, upper and lower case the same.
///
/// # Panics
/// Where nothing is known.
pub(crate) fn nearest_name<'a>(name: &str, known: &[&'a str]) -> &'a str {
    let name = name.to_lowercase();
    known.iter().min_by_key(|known| distance(&name, &known.to_lowercase())).expect("a table of hardware is not empty")
}

/// Levenshtein's distance, a row of its table at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = corner + usize::from(letter != *other);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

/// All divisors of `size`, from 1 on.
pub(crate) fn divisors(size: u64) -> Vec<u64> {
    let mut small: Vec<u64> = (1..=size.isqrt()).filter(|divisor| size.is_multiple_of(*divisor)).collect();
    let large: Vec<u64> =
        small.iter().rev().map(|divisor| size / divisor).filter(|large| large * large > size).collect();
    small.extend(large);
    small
}

/// Divisors of `size` on either side of `wanted`, in words.
pub fn nearest_divisors(size: u64, wanted: u64) -> String {
    let divides = |n: &u64| size.is_multiple_of(*n);
    let below = (1..wanted.min(size + 1)).rev().find(divides);
    let above = (wanted + 1..=size).find(divides);
    match (below, above) {
        (Some(below), Some(above)) => format!("{below} or {above}"),
        (Some(only), None) | (None, Some(only)) => only.to_string(),
        (None, None) => "nothing".to_owned(),
    }
}

/// `size / part` where it is whole, else what lies on either side, in words.
pub(crate) fn nearest_whole(size: u64, part: u64) -> String {
    match (size / part, size.is_multiple_of(part)) {
        (0, _) => format!("nothing: {part} devices hold one replica"),
        (n, true) => n.to_string(),
        (n, false) => format!("{n}, which leaves {} devices idle", size % part),
    }
}
