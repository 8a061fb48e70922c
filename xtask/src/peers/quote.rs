//! The tables for people: printed, and written to `docs/benchmarks/` with the date and the machine in words.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::decisions::{self, Agreement};
use super::extraction::{self, Scores};
use super::measure::{OURS, read_rows};
use super::systems::Contest;
use super::{Places, Row};

/// The table of what was measured, as Markdown.
pub(super) fn speeds(places: &Places) -> anyhow::Result<String> {
    let rows = read_rows(places)?;
    let mut report = String::from(
        "\n## Speed\n\n| task | system | version | unit | median | least | most | of ours | runs | note |\n",
    );
    report.push_str("| --- | --- | --- | --- | --: | --: | --: | --: | --: | --- |\n");
    for row in &rows {
        let ours = rows.iter().find(|ours| ours.task == row.task && ours.system == OURS);
        let share = ours.map_or_else(String::new, |ours| format!("{:.3}", row.median / ours.median));
        let Row { task, system, version, unit, median, min, max, runs, note, .. } = row;
        writeln!(
            report,
            "| {task} | {system} | {version} | {unit} | {median} | {min} | {max} | {share} | {runs} | {note} |"
        )?;
    }
    Ok(report)
}

/// The tables of what came out of ingest.
pub(super) fn comparisons(places: &Places, report: &mut String) -> anyhow::Result<()> {
    if let Some(scores) = read_json::<Scores>(&places.folder.join(extraction::RESULT))? {
        qualities(&scores, report)?;
    }
    if let Some(agreements) = read_json::<Vec<Agreement>>(&places.folder.join(decisions::RESULT))? {
        agreement(&agreements, report)?;
    }
    Ok(())
}

/// Writes the stage's page in `docs/benchmarks/`.
pub(super) fn write(places: &Places, report: &str) -> anyhow::Result<()> {
    let date = Command::new("date").arg("+%Y-%m-%d").output().context("cannot start date")?;
    let date = String::from_utf8_lossy(&date.stdout).trim().to_owned();
    let Contest { name, title, about, .. } = places.contest;
    let machine = machine();
    let text =
        format!("# {title}\n\nMeasured on {date} by `cargo xtask peers {name}` on {machine}.\n\n{about}{report}");
    let folder = places.root.join("docs/benchmarks");
    fs::create_dir_all(&folder).context("cannot create docs/benchmarks")?;
    let path = folder.join(format!("{name}.md"));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).map(Some).with_context(|| format!("{} is not as expected", path.display()))
}

fn qualities(scores: &Scores, report: &mut String) -> anyhow::Result<()> {
    report.push_str("\n## Main text of web pages\n\n");
    report.push_str("Token F1 against the text that newspaper4k expects of its test pages, means of pages: words in English, characters in Chinese.\n");
    report.push_str("The texts were recorded from that parser itself and looked through by its maintainers. They have no titles,\nwhich we put first: ours is scored without them, as the others are, and with them.\n\n");
    report.push_str(
        "| pages | system | n | F1 | precision | recall | lowest F1 |\n| --- | --- | --: | --: | --: | --: | --: |\n",
    );
    for lang in ["en", "zh", "other"] {
        let mut systems: Vec<_> =
            scores.iter().filter_map(|(system, scores)| scores.get(lang).map(|score| (system, score))).collect();
        systems.sort_by(|(_, left), (_, right)| right.f1.total_cmp(&left.f1));
        for (system, score) in systems {
            let extraction::Score { n, f1, precision, recall, lowest, lowest_page } = score;
            writeln!(
                report,
                "| {lang} | {system} | {n} | {f1:.4} | {precision:.4} | {recall:.4} | {lowest:.3} ({lowest_page}) |"
            )?;
        }
    }
    Ok(())
}

fn agreement(agreements: &[Agreement], report: &mut String) -> anyhow::Result<()> {
    report.push_str("\n## Decisions beside datatrove's\n\n");
    report.push_str("The same documents, each rule alone. English: the published rules. Chinese: datatrove with FineWeb2's settings counts words of jieba,\n");
    report.push_str("ours count characters, so these are the counterparts of each other.\n\n");
    report.push_str(
        "| language | rule | documents | alike | both keep | both drop | only ours drops | only datatrove drops |\n",
    );
    report.push_str("| --- | --- | --: | --: | --: | --: | --: | --: |\n");
    for agreement in agreements {
        let Agreement { lang, rule, documents, both_keep, both_drop, only_ours_drops, only_theirs_drops } = agreement;
        let alike = 100.0 * (both_keep + both_drop) as f64 / (*documents).max(1) as f64;
        writeln!(
            report,
            "| {lang} | {rule} | {documents} | {alike:.2} % | {both_keep} | {both_drop} | {only_ours_drops} | {only_theirs_drops} |"
        )?;
    }
    Ok(())
}

/// The machine in words.
fn machine() -> String {
    let field = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name))?.split_once(':')?.1.trim().to_owned();
        Some(line)
    };
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "an unnamed processor".to_owned());
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kib = field("/proc/meminfo", "MemTotal").and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    let memory = kib.map_or_else(String::new, |kib| format!(", {:.0} GiB of memory", kib / 1024.0 / 1024.0));
    format!("{processor}, {n_cores} cores{memory}")
}
