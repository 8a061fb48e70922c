//! Text into HTML: escaping, numbers as people write them, tables.
//!
//! Functions that return HTML escape what they are given, unless their argument is called `html`.

use std::fmt::Write;

/// Between a number and its unit: narrow, and no line break.
const THIN: char = '\u{202f}';

/// Text that may stand in HTML, between tags and in quoted attributes alike.
pub(super) fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            // Control characters of broken documents have no place in HTML, not even escaped.
            char if char.is_control() && char != '\n' && char != '\t' => html.push('\u{fffd}'),
            char => html.push(char),
        }
    }
    html
}

/// 17220 as 17,220.
pub(super) fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits with a suffix: 1.64M; small counts stay exact.
pub(super) fn short(number: f64) -> String {
    scaled(number, 1000.0, &["", "K", "M", "B", "T"], "")
}

/// 16.8 MB.
pub(super) fn bytes(number: u64) -> String {
    scaled(number as f64, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"], &THIN.to_string())
}

/// 33.9 TFLOP.
pub(super) fn flops(number: f64) -> String {
    let units = ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP", "ZFLOP"];
    scaled(number, 1000.0, &units, &THIN.to_string())
}

fn scaled(number: f64, base: f64, units: &[&str], gap: &str) -> String {
    if !number.is_finite() {
        return "–".to_owned();
    }
    let (mut number, mut unit) = (number, 0);
    // 999.5 would be written as 1000.
    while number.abs() >= base * 0.9995 && unit + 1 < units.len() {
        number /= base;
        unit += 1;
    }
    format!("{}{gap}{}", significant(number), units[unit])
}

/// Three significant digits, without zeros at the end.
fn significant(number: f64) -> String {
    let n_decimals = match number.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{number:.n_decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// 0.534 as 53.4 %.
pub(super) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1}{THIN}%", share * 100.0) } else { "–".to_owned() }
}

/// 0.5346 as 53.46 %.
pub(super) fn fine_percent(share: f64) -> String {
    if share.is_finite() { format!("{:.2}{THIN}%", share * 100.0) } else { "–".to_owned() }
}

/// A share of two counts.
pub(super) fn share(part: u64, all: u64) -> String {
    percent(part as f64 / all as f64)
}

/// A fixed number of decimals.
pub(super) fn fixed(number: f64, n_decimals: usize) -> String {
    if number.is_finite() { format!("{number:.n_decimals$}") } else { "–".to_owned() }
}

/// 1.1 × 10⁻⁵, as HTML.
pub(super) fn scientific(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return if number == 0.0 { "0".to_owned() } else { "not a number".to_owned() };
    }
    let text = format!("{number:.1e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent = exponent.replace('-', "−");
    match digits {
        "1.0" => format!("10<sup>{exponent}</sup>"),
        digits => format!("{digits}{THIN}×{THIN}10<sup>{exponent}</sup>"),
    }
}

/// 4 min 33 s.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".to_owned();
    }
    if seconds < 60.0 {
        return format!("{}{THIN}s", significant(seconds));
    }
    let whole = seconds.round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match hours {
        0 => format!("{minutes}{THIN}min {seconds:02}{THIN}s"),
        1..48 => format!("{hours}{THIN}h {minutes:02}{THIN}min"),
        _ => format!("{}{THIN}d {}{THIN}h", hours / 24, hours % 24),
    }
}

/// $0.0105, $12.30 or $28,900.
pub(super) fn money(usd: f64) -> String {
    match usd {
        usd if !usd.is_finite() => "–".to_owned(),
        usd if usd >= 1000.0 => format!("${}", whole(usd.round() as u64)),
        usd if usd >= 0.1 => format!("${usd:.2}"),
        usd => format!("${usd:.4}"),
    }
}

/// 4.2 Wh or 12.3 MWh.
pub(super) fn energy(kwh: f64) -> String {
    scaled(kwh * 1000.0, 1000.0, &["Wh", "kWh", "MWh", "GWh"], &THIN.to_string())
}

/// The English name of a language; its code where we know none.
pub(super) fn language(code: &str) -> &str {
    match code {
        "ar" => "Arabic",
        "ca" => "Catalan",
        "cs" => "Czech",
        "cy" => "Welsh",
        "da" => "Danish",
        "de" => "German",
        "en" => "English",
        "es" => "Spanish",
        "fi" => "Finnish",
        "fr" => "French",
        "hi" => "Hindi",
        "hu" => "Hungarian",
        "id" => "Indonesian",
        "it" => "Italian",
        "ja" => "Japanese",
        "ko" => "Korean",
        "la" => "Latin",
        "nl" => "Dutch",
        "pl" => "Polish",
        "pt" => "Portuguese",
        "ro" => "Romanian",
        "ru" => "Russian",
        "sv" => "Swedish",
        "tr" => "Turkish",
        "uk" => "Ukrainian",
        "vi" => "Vietnamese",
        "zh" => "Chinese",
        "" | "und" => "unknown",
        code => code,
    }
}

/// The first characters of a hash: enough to compare by eye.
pub(super) fn short_hash(hash: &str) -> String {
    let start: String = hash.chars().take(12).collect();
    format!("<code title=\"{}\">{}</code>", escape(hash), escape(&start))
}

/// A column's heading and how its cells are set.
pub(super) struct Column {
    title: &'static str,
    class: &'static str,
}

/// A column of text.
pub(super) fn text(title: &'static str) -> Column {
    Column { title, class: "" }
}

/// A column of numbers, set to the right.
pub(super) fn number(title: &'static str) -> Column {
    Column { title, class: "n" }
}

/// A column that is left out where there is little room: its content can be had from the others.
pub(super) fn roomy(title: &'static str) -> Column {
    Column { title, class: "roomy" }
}

/// The same for numbers.
pub(super) fn roomy_number(title: &'static str) -> Column {
    Column { title, class: "n roomy" }
}

/// A table; cells are HTML. Rows with a single cell span all columns and head a group.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>]) -> String {
    let mut html = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
    for column in columns {
        let _ = write!(html, "<th scope=\"col\"{}>{}</th>", class(column), escape(column.title));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        html.push_str(&table_row(columns, row));
    }
    html.push_str("</tbody>\n</table></div>\n");
    html
}

fn table_row(columns: &[Column], row: &[String]) -> String {
    if let ([only], [_, _, ..]) = (row, columns) {
        return format!("<tr class=\"group\"><th scope=\"colgroup\" colspan=\"{}\">{only}</th></tr>\n", columns.len());
    }
    let mut html = String::from("<tr>");
    for (index, (column, cell)) in columns.iter().zip(row).enumerate() {
        let _ = match index {
            0 => write!(html, "<th scope=\"row\"{}>{cell}</th>", class(column)),
            _ => write!(html, "<td{}>{cell}</td>", class(column)),
        };
    }
    html.push_str("</tr>\n");
    html
}

fn class(column: &Column) -> String {
    if column.class.is_empty() { String::new() } else { format!(" class=\"{}\"", column.class) }
}

/// A horizontal bar of coloured parts; `parts` are a class and a share of the bar's width.
pub(super) fn bar(parts: &[(String, f64)], label: &str) -> String {
    let mut html = format!("<span class=\"bar\" role=\"img\" aria-label=\"{}\">", escape(label));
    for (class, share) in parts.iter().filter(|(_, share)| *share > 0.0) {
        let _ = write!(html, "<span class=\"{}\" style=\"width:{:.2}%\"></span>", escape(class), share * 100.0);
    }
    html.push_str("</span>");
    html
}

/// What the colours mean; `entries` are a class and a name.
pub(super) fn legend(entries: &[(String, String)]) -> String {
    let mut html = String::from("<ul class=\"legend\">");
    for (class, name) in entries {
        let _ = write!(html, "<li><span class=\"key {}\"></span>{}</li>", escape(class), escape(name));
    }
    html.push_str("</ul>\n");
    html
}

/// A figure: what it shows, and one sentence that says what one sees.
pub(super) fn figure(html: &str, caption_html: &str) -> String {
    format!("<figure>\n{html}<figcaption>{caption_html}</figcaption>\n</figure>\n")
}
