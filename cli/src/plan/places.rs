//! A run file in another folder: what it names relative to itself is named relative to there.

use std::path::{Component, Path, PathBuf};

/// Settings that are paths, wherever they stand; `import` only where it names a file.
const PATHS: [&str; 8] = ["path", "import", "blocked", "positive", "negative", "fasttext", "reference", "hardware"];

/// Where a file is.
pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// An absolute path without `.` and `..`.
pub(super) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// The way from `folder` to `file`.
pub(super) fn relative(file: &Path, folder: &Path) -> String {
    let (file, folder) = (plain(file), plain(folder));
    let n_shared = file.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(n_shared).map(|_| Component::ParentDir);
    let way: PathBuf = up.chain(file.components().skip(n_shared)).collect();
    way.display().to_string()
}

/// The text of a run file in `from` as it must be in `to`.
pub(super) fn moved(text: &str, from: &Path, to: &Path) -> String {
    if plain(from) == plain(to) {
        return text.to_owned();
    }
    text.lines().map(|line| moved_line(line, from, to) + "\n").collect()
}

fn moved_line(line: &str, from: &Path, to: &Path) -> String {
    let (mut moved, mut rest) = (String::new(), line);
    while let Some((start, end)) = path_in(rest) {
        let path = &rest[start..end];
        moved.push_str(&rest[..start]);
        moved.push_str(&if Path::new(path).is_absolute() { path.to_owned() } else { relative(&from.join(path), to) });
        rest = &rest[end..];
    }
    moved + rest
}

/// Where the first path in a line, or in the rest of one, stands between its quotes.
fn path_in(line: &str) -> Option<(usize, usize)> {
    let found = PATHS.iter().flat_map(|key| line.match_indices(key).map(move |(at, _)| (at, *key)));
    let paths = found.filter_map(|(at, key)| {
        let begins = line[..at].trim_end().chars().next_back().is_none_or(|before| "{,".contains(before));
        let value = line[at + key.len()..].trim_start().strip_prefix('=')?.trim_start();
        let quote = value.chars().next().filter(|quote| "\"'".contains(*quote))?;
        let value = &value[1..];
        let start = line.len() - value.len();
        let end = start + value.find(quote)?;
        let is_file = key != "import" || [".tiktoken", ".json"].iter().any(|ending| line[start..end].ends_with(ending));
        (begins && is_file).then_some((start, end))
    });
    paths.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_the_new_place() {
        let check = |from: &str, to: &str, line: &str, expected: &str| {
            assert_eq!(moved(line, Path::new(from), Path::new(to)).trim_end_matches('\n'), expected);
        };
        check("configs", ".", "path = \"../corpus/a\"", "path = \"corpus/a\"");
        check("configs", "/x/y", "path = '/data/a'", "path = '/data/a'");
        check("a/b", "a/c/d", "path=\"e.jsonl\" # near", "path=\"../../b/e.jsonl\" # near");
        let sets = "sets = [{ name = \"x\", path = \"s/x\" }, { name = \"path\", path = \"s/y\" }]";
        check(".", "in", sets, &sets.replace("\"s/", "\"../s/"));
        check(".", "in", "import = \"cl100k_base\"", "import = \"cl100k_base\"");
        check(".", "in", "import = \"t/a.tiktoken\"", "import = \"../t/a.tiktoken\"");
        check(".", "in", "text = \"the path = is long\"", "text = \"the path = is long\"");
        check("configs", "configs", "path = \"../a\"", "path = \"../a\"");
    }
}
