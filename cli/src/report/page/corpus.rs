//! What came in, what was dropped and why, and how the rest was mixed.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::report::charts::language_class;
use crate::report::checks::rows_off;
use crate::report::facts::{Dropped, DroppedSample, Facts, Group, Packed, SourceCount};
use crate::report::markup::{
    bar, bytes, escape, figure, fine_percent, fixed, language, legend, number, percent, roomy, roomy_number, share,
    short, table, text, whole,
};

pub(super) fn corpus(facts: &Facts) -> String {
    let corpus = &facts.corpus;
    let mut html = format!(
        "<p>Of {} documents, {} were dropped and {} kept ({}). The rules are asked from top to bottom; a document is \
         counted at the first that drops it.</p>\n",
        whole(corpus.n_in),
        whole(corpus.n_dropped),
        whole(corpus.n_kept),
        share(corpus.n_kept, corpus.n_in),
    );
    html.push_str(&overview(facts));
    html.push_str(&funnel(facts));
    html.push_str(&samples(facts));
    html.push_str("<h3>Where it came from</h3>\n");
    html.push_str(&sources(facts));
    html.push_str("<h3>What was kept</h3>\n");
    html.push_str(&kept(facts));
    html
}

/// The language's colour; a grey for languages that nobody asked for.
fn class(langs: &[String], lang: &str) -> String {
    langs.iter().position(|known| known == lang).map_or("other".to_owned(), language_class)
}

fn overview(facts: &Facts) -> String {
    let (langs, corpus) = (facts.langs(), &facts.corpus);
    let of_all = |n: u64| n as f64 / corpus.n_in.max(1) as f64;
    let kept = |lang: &String| facts.kept("documents", |row| row.lang == *lang);
    let mut parts: Vec<(String, f64)> = langs.iter().map(|lang| (class(&langs, lang), of_all(kept(lang)))).collect();
    parts.push(("dropped".to_owned(), of_all(corpus.n_dropped)));
    let mut entries: Vec<(String, String)> = langs
        .iter()
        .map(|lang| (class(&langs, lang), format!("{} kept: {}", language(lang), whole(kept(lang)))))
        .collect();
    entries.push(("dropped".to_owned(), format!("dropped: {}", whole(corpus.n_dropped))));
    let label = format!("{} of {} documents kept", whole(corpus.n_kept), whole(corpus.n_in));
    let caption = "Each document once: kept, by language, or dropped.";
    figure(&format!("{}<div class=\"tall\">{}</div>\n", legend(&entries), bar(&parts, &label)), caption)
}

fn funnel(facts: &Facts) -> String {
    let (langs, corpus) = (facts.langs(), &facts.corpus);
    if corpus.funnel.is_empty() {
        return "<p class=\"missing\">No rule dropped anything.</p>\n".to_owned();
    }
    let rules = by_rule(&corpus.funnel);
    let most = rules.iter().map(|(_, rows)| total(rows)).max().unwrap_or(1).max(1);
    let mut table_rows = Vec::new();
    let (mut heading, mut n_left) = ("", corpus.n_in);
    for (rule, rows) in &rules {
        if family(rule) != heading {
            heading = family(rule);
            let n: u64 = corpus.funnel.iter().filter(|row| family(&row.rule) == heading).map(|row| row.n).sum();
            n_left = n_left.saturating_sub(n);
            let (n, n_left) = (whole(n), whole(n_left));
            table_rows.push(vec![format!("{heading} <span class=\"aside\">{n} dropped, {n_left} left</span>")]);
        }
        table_rows.push(funnel_row(&langs, rule, rows, most));
    }
    let (biggest, rows) = rules.iter().max_by_key(|(_, rows)| total(rows)).expect("the funnel is not empty");
    let caption = format!(
        "{} takes most: {} of the {} documents that were dropped ({}).",
        describe(biggest),
        whole(total(rows)),
        whole(corpus.n_dropped),
        share(total(rows), corpus.n_dropped),
    );
    let mut entries: Vec<(String, String)> =
        langs.iter().map(|lang| (class(&langs, lang), language(lang).to_owned())).collect();
    entries.push(("other".to_owned(), "other languages".to_owned()));
    let columns = [text("Rule"), roomy("Language of what it dropped"), number("Dropped"), text("")];
    figure(&format!("{}<div class=\"funnel\">{}</div>", legend(&entries), table(&columns, &table_rows)), &caption)
}

fn funnel_row(langs: &[String], rule: &str, rows: &[&Dropped], most: u64) -> Vec<String> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| (!langs.contains(&row.lang), std::cmp::Reverse(row.n)));
    let parts: Vec<(String, f64)> =
        rows.iter().map(|row| (class(langs, &row.lang), row.n as f64 / most as f64)).collect();
    let mut names: Vec<String> =
        rows.iter().take(4).map(|row| format!("{} {}", escape(language(&row.lang)), whole(row.n))).collect();
    let n_more: u64 = rows.iter().skip(4).map(|row| row.n).sum();
    if n_more > 0 {
        names.push(format!("{} others {}", rows.len() - 4, whole(n_more)));
    }
    let n: u64 = rows.iter().map(|row| row.n).sum();
    vec![
        format!("{}<code class=\"rule\">{}</code>", describe(rule), escape(rule)),
        names.join(" · "),
        whole(n),
        bar(&parts, &format!("{} documents", whole(n))),
    ]
}

/// The rows of each rule, in the order of the rules.
fn by_rule(funnel: &[Dropped]) -> Vec<(&str, Vec<&Dropped>)> {
    let mut rules: Vec<(&str, Vec<&Dropped>)> = Vec::new();
    for row in funnel {
        match rules.iter_mut().find(|(rule, _)| *rule == row.rule) {
            Some((_, rows)) => rows.push(row),
            None => rules.push((&row.rule, vec![row])),
        }
    }
    rules
}

fn total(rows: &[&Dropped]) -> u64 {
    rows.iter().map(|row| row.n).sum()
}

/// What a rule belongs to, in words.
fn family(rule: &str) -> &'static str {
    match rule.split('.').next().unwrap_or_default() {
        "unreadable" | "empty" | "too_long" => "Reading",
        "language" | "language_confidence" => "Language",
        "english" => "Quality of English text",
        "chinese" => "Quality of Chinese text",
        "duplicates" => "Duplicates",
        "urls" => "Addresses",
        "classifier" | "perplexity" => "Scores of models",
        "contamination" => "Evaluation sets",
        _ => "Other rules",
    }
}

/// A rule in words, as HTML.
fn describe(rule: &str) -> String {
    let measure = rule.rsplit('.').next().unwrap_or(rule);
    let words = match measure {
        "unreadable" => "Unreadable record",
        "empty" => "No text left after cleaning",
        "too_long" => "Too long",
        "blocked" => "An address on the block list",
        "language" => "A language nobody asked for",
        "language_confidence" => "Language not certain enough",
        "words" | "chars" | "sentences" => "Too short or too long",
        "mean_word_length" => "Words too short or too long",
        "letter_ratio" => "Too few words with letters",
        "stop_words" | "stop_chars" => "Too few of the words prose cannot do without",
        "symbol_ratio" => "Too many symbols",
        "bullet_lines" => "Too many bulleted lines",
        "ellipsis_lines" => "Too many lines that trail off",
        "terminal_lines" => "Too few lines that end in punctuation",
        "short_lines" => "Too many short lines",
        "newline_ratio" => "Lines too short on average",
        "more_lines" => "Too many lines that only say \u{201C}more\u{201D}",
        "han_ratio" => "Too few Han characters",
        "punctuation_ratio" => "Too much punctuation, or none",
        "digit_ratio" => "Too many digits",
        "bracket_ratio" => "Too many brackets",
        "distinct_ratio" | "entropy" => "Too few different characters",
        "duplicate_lines" | "duplicate_line_chars" => "Lines that repeat",
        "duplicate_paragraphs" | "duplicate_paragraph_chars" => "Paragraphs that repeat",
        "lorem_ipsum" => "Lorem ipsum",
        "curly_brackets" => "Curly brackets",
        "adult" => "Words of adult pages",
        "gambling" => "Words of gambling pages",
        "promotion" => "Words of bought pages",
        "contamination" => "Holds an evaluation item",
        "url" => "Same address as another",
        "exact" => "Same text as another",
        "near" => "Nearly the text of another",
        "repeated" => "Mostly stood in earlier documents",
        _ if measure.starts_with("top_") => "One phrase repeated",
        _ if measure.starts_with("duplicate_") => "Phrases that repeat",
        other => return escape(other),
    };
    words.to_owned()
}

/// Beginnings of documents on both sides of each rule's limit.
fn samples(facts: &Facts) -> String {
    let dropped = sample_list("Read how some of what was dropped begins", &facts.corpus.samples);
    let passed = sample_list("Read how what only just stayed begins", &facts.corpus.passed);
    dropped + &passed
}

fn sample_list(heading: &str, samples: &[DroppedSample]) -> String {
    let mut by_rule: Vec<(&str, Vec<&DroppedSample>)> = Vec::new();
    for sample in samples {
        match by_rule.iter_mut().find(|(rule, _)| *rule == sample.rule) {
            Some((_, samples)) => samples.push(sample),
            None => by_rule.push((&sample.rule, vec![sample])),
        }
    }
    if by_rule.is_empty() {
        return String::new();
    }
    let mut html = format!("<details class=\"box\"><summary>{heading}</summary>\n");
    for (rule, samples) in by_rule {
        let rule = format!("{} <code class=\"rule\">{}</code>", describe(rule), escape(rule));
        let _ = write!(html, "<details><summary>{rule}</summary>\n<ul class=\"dropped-list\">\n");
        for sample in samples {
            let _ = writeln!(
                html,
                "<li><p class=\"where\">{} · {} · {} · {}</p><blockquote lang=\"{}\">{}</blockquote></li>",
                escape(&sample.source),
                escape(&sample.locator),
                escape(language(&sample.lang)),
                escape(&sample.detail),
                escape(&sample.lang),
                escape(&sample.text),
            );
        }
        html.push_str("</ul></details>\n");
    }
    html.push_str("</details>\n");
    html
}

fn sources(facts: &Facts) -> String {
    let corpus = &facts.corpus;
    let row = |source: &SourceCount| {
        let share_kept = source.n_kept as f64 / source.n_in.max(1) as f64;
        vec![
            escape(&source.source),
            escape(&source.kind),
            escape(&source.license),
            whole(source.n_in),
            whole(source.n_kept),
            percent(share_kept),
            bar(&[("kept".to_owned(), share_kept)], "share kept"),
            bytes(facts.kept("bytes", |row| row.source == source.source)),
        ]
    };
    let rows: Vec<Vec<String>> = corpus.by_source.iter().map(row).collect();
    let lost = |source: &&SourceCount| source.n_in - source.n_kept.min(source.n_in);
    let caption = match corpus.by_source.iter().max_by_key(lost) {
        Some(source) if lost(&source) > 0 => {
            format!("{} loses most: {} documents.", escape(&source.source), whole(lost(&source)))
        }
        _ => "Every source is kept whole.".to_owned(),
    };
    let columns = [
        text("Source"),
        roomy("Kind"),
        roomy("Licence"),
        number("In"),
        number("Kept"),
        number("Share"),
        roomy(""),
        number("Text kept"),
    ];
    figure(&table(&columns, &rows), &caption)
}

fn kept(facts: &Facts) -> String {
    let mut groups: BTreeMap<(&str, &str), [u64; 3]> = BTreeMap::new();
    for row in &facts.corpus.kept {
        let sums = groups.entry((&row.lang, &row.kind)).or_default();
        for (sum, unit) in sums.iter_mut().zip(["documents", "bytes", "tokens"]) {
            *sum += row.amount(unit);
        }
    }
    let all_tokens: u64 = groups.values().map(|[_, _, tokens]| tokens).sum();
    let cells = |name: String, [documents, n_bytes, tokens]: [u64; 3]| {
        vec![
            name,
            whole(documents),
            bytes(n_bytes),
            short(tokens as f64),
            share(tokens, all_tokens),
            fixed(n_bytes as f64 / tokens as f64, 2),
        ]
    };
    let mut rows: Vec<Vec<String>> = groups
        .iter()
        .map(|((lang, kind), sums)| cells(format!("{}, {}", escape(language(lang)), escape(kind)), *sums))
        .collect();
    let all = groups.values().fold([0; 3], |all, sums| [all[0] + sums[0], all[1] + sums[1], all[2] + sums[2]]);
    rows.push(cells("All".to_owned(), all));
    let columns = [
        text("Language and kind"),
        number("Documents"),
        number("Text"),
        number("Tokens"),
        roomy_number("Share"),
        number("Bytes a token"),
    ];
    let by_lang: Vec<String> = facts
        .langs()
        .iter()
        .map(|lang| {
            let sum = |unit| facts.kept(unit, |row| row.lang == *lang) as f64;
            format!("{} bytes of {}", fixed(sum("bytes") / sum("tokens"), 2), escape(language(lang)))
        })
        .collect();
    let caption = format!("With {} ids, one token stands for {}.", whole(facts.corpus.n_ids), by_lang.join(" and "));
    figure(&format!("<div class=\"total\">{}</div>", table(&columns, &rows)), &caption)
}

pub(super) fn mix(facts: &Facts) -> String {
    if facts.packed.iter().all(|packed| packed.groups.is_empty()) {
        return "<p class=\"missing\">No stage says what it was mixed from.</p>\n".to_owned();
    }
    let mut html = format!(
        "<p>Each stage asks for shares of language and kind. Rows are whole, so a group may miss its share by less than \
         one row; the realised share is counted in the packed rows themselves. {} of all documents are held out and \
         never trained on.</p>\n",
        percent(facts.held_out)
    );
    html.push_str(&mix_bars(facts));
    let mut rows = Vec::new();
    for packed in &facts.packed {
        let slots = packed.n_rows * packed.context;
        rows.push(vec![format!(
            "{} <span class=\"aside\">{} rows of {} tokens, padding {}</span>",
            escape(&packed.stage),
            whole(packed.n_rows),
            whole(packed.context),
            share(packed.n_padding, slots),
        )]);
        rows.extend(packed.groups.iter().map(|group| mix_row(packed, group)));
    }
    let columns = [
        text("Language and kind"),
        number("Planned"),
        number("Realised"),
        number("Rows"),
        number("Tokens"),
        roomy_number("With loss"),
        roomy_number("Epoch"),
    ];
    html.push_str(&figure(&table(&columns, &rows), &mix_caption(facts)));
    html
}

fn mix_caption(facts: &Facts) -> String {
    let groups = || facts.packed.iter().flat_map(|packed| &packed.groups);
    let off = facts.packed.iter().map(rows_off).fold(0.0, f64::max);
    let epochs = groups().map(|group| group.epochs).max().unwrap_or(0);
    let mut caption =
        format!("No group is further than {} rows from its share or read beyond epoch {epochs}.", fixed(off, 2));
    if groups().any(|group| group.n_targets < group.n_tokens) {
        caption.push_str(" Propositions carry loss on their verdict only.");
    }
    let n_left_out = groups().map(|group| group.too_long_for_a_row).max().unwrap_or(0);
    if n_left_out > 0 {
        let _ = write!(caption, " Up to {} documents of a group do not fit a row and are left out.", whole(n_left_out));
    }
    caption
}

fn mix_row(packed: &Packed, group: &Group) -> Vec<String> {
    vec![
        format!("{}, {}", escape(language(&group.lang)), escape(&group.kind)),
        fine_percent(group.share),
        fine_percent(group.n_rows_found as f64 / packed.n_rows as f64),
        whole(group.n_rows_found),
        short(group.n_tokens as f64),
        short(group.n_targets as f64),
        group.epochs.to_string(),
    ]
}

/// One bar a stage: languages by colour, kinds by shade.
fn mix_bars(facts: &Facts) -> String {
    let langs = facts.langs();
    let class = |group: &Group| format!("{} {}", class(&langs, &group.lang), kind_class(&group.kind));
    let mut html = String::from("<div class=\"stage-bars\">\n");
    for packed in &facts.packed {
        let mut groups: Vec<&Group> = packed.groups.iter().collect();
        groups.sort_by_key(|group| langs.iter().position(|lang| *lang == group.lang));
        let parts: Vec<(String, f64)> = groups
            .iter()
            .map(|group| (class(group), group.n_rows_found as f64 / packed.n_rows.max(1) as f64))
            .collect();
        let label = format!("Realised mix of stage {}", packed.stage);
        let _ = writeln!(html, "<div><span>{}</span>{}</div>", escape(&packed.stage), bar(&parts, &label));
    }
    html.push_str("</div>\n");
    let mut entries: Vec<(String, String)> = Vec::new();
    for group in facts.packed.iter().flat_map(|packed| &packed.groups) {
        let entry = (class(group), format!("{}, {}", language(&group.lang), group.kind));
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    entries.sort();
    let shares = |packed: &Packed| packed.groups.iter().map(|group| (class(group), group.share)).collect::<Vec<_>>();
    let is_same = facts.packed.windows(2).all(|pair| shares(&pair[0]) == shares(&pair[1]));
    let caption = if is_same { "Every stage reads the same mix." } else { "The mix changes from stage to stage." };
    figure(&format!("{}{html}", legend(&entries)), caption)
}

fn kind_class(kind: &str) -> &'static str {
    match kind {
        "plain" => "k0",
        "instruction" => "k1",
        _ => "k2",
    }
}
