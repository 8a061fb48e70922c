//! Pages from made-up facts: what is escaped, what passes, and that nothing missing breaks the page.

use corpus::Tally;
use planner::{
    Band, Batch, Cost, Depth, Growth as Grows, Hardware, Layout, LearningRate, Moments, MuP, Precision, Prediction,
    Recompute, Resources, RunPlan, SearchPoint, Shape, SizedLoss, StageRequest, Width, forecast, plan,
};

use super::checks::{Check, Verdict, checks};
use super::facts::{
    Compared, Corpus, Dropped, DroppedSample, Evaluation, Facts, Folder, Group, Growth, Log, Packed, Rollback, Sample,
    Skip, SourceCount, Step, Task, Time, Validation,
};
use super::markup::{bytes, duration, energy, escape, fixed, flops, money, percent, scientific, short, whole};
use super::{charts, page};
use crate::prediction::{Law, PredictedLosses};
use crate::sweep::{Frozen, Point, Results};

const CONTEXT: u64 = 8;

fn request(name: &str, hidden: u64, grows: bool) -> StageRequest {
    StageRequest {
        name: name.into(),
        tokens: 320,
        shape: Shape {
            layers: 1,
            hidden,
            heads: hidden / 4,
            head_size: 4,
            ffn: 4 * hidden,
            vocabulary: 128,
            context: CONTEXT,
        },
        batch: Batch { rows: 4, micro_rows: 4 },
        learning_rate: Some(LearningRate::Cosine { peak: 1e-2, end: 1e-3, warmup_tokens: 32 }),
        growth: grows.then_some(Grows {
            depth: Depth::Stack,
            width: Width::Random,
            ramp_tokens: 64,
            moments: Moments::Old,
        }),
    }
}

fn validation(stage: &str, tokens: u64, lang: &str, loss: f64) -> Validation {
    Validation {
        stage: stage.into(),
        tokens,
        lang: lang.into(),
        loss,
        bits_per_byte: loss / 2.5,
        unigram_entropy: 6.0,
        n_targets: 100,
    }
}

fn packed(stage: &str) -> Packed {
    let group = |lang: &str, share: f64, rows: u64, n_tokens: u64| Group {
        lang: lang.into(),
        kind: "plain".into(),
        share,
        rows,
        epochs: 1,
        n_rows_found: rows,
        n_tokens,
        n_targets: n_tokens,
        ..Group::default()
    };
    let groups = vec![group("en", 0.53, 21, 160), group("zh", 0.47, 19, 152)];
    Packed { stage: stage.into(), context: CONTEXT, n_rows: 40, n_padding: 8, groups }
}

fn log() -> Log {
    let stage = |index: u64| if index < 10 { "a" } else { "b" };
    let step = |index: u64| Step {
        stage: stage(index).into(),
        tokens: (index + 1) * 32,
        loss: 9.0 - index as f64 / 5.0,
        lr: 1e-2,
        mask: 1.0,
        tokens_per_s: 64.0,
        ..Step::default()
    };
    Log {
        steps: (0..20).map(step).collect(),
        growths: vec![Growth {
            stage_from: "a".into(),
            stage_to: "b".into(),
            operator: "masked".into(),
            max_logit_diff: 2e-5,
            loss_before: 7.1,
            loss_after: 7.1 + 1e-6,
            parameters: (100, 200),
            seconds: 1.0,
        }],
        validations: vec![validation("a", 320, "en", 5.5), validation("b", 640, "en", 5.0)],
        skips: Vec::new(),
        rollbacks: Vec::new(),
        compared: vec![Compared { step: 10, stage: "a".into(), loss: 5.5, is_inside: false }],
        n_resumes: 0,
    }
}

fn kept(lang: &str, documents: u64) -> Tally {
    let amounts = [("documents", documents), ("bytes", 900), ("tokens", 300)];
    Tally {
        lang: lang.into(),
        source: "web".into(),
        kind: "plain".into(),
        amounts: amounts.into_iter().map(|(unit, n)| (unit.to_owned(), n)).collect(),
    }
}

fn corpus() -> Corpus {
    let dropped = |rule: &str, lang: &str, n| Dropped { rule: rule.into(), lang: lang.into(), n };
    let web = SourceCount { source: "web".into(), n_in: 12, n_kept: 8, ..SourceCount::default() };
    Corpus {
        n_in: 12,
        n_kept: 8,
        n_dropped: 4,
        funnel: vec![dropped("language", "fr", 1), dropped("english.gopher_quality.words", "en", 3)],
        by_source: vec![web],
        passed: Vec::new(),
        samples: vec![DroppedSample { rule: "language".into(), text: "<b>oui</b>".into(), ..DroppedSample::default() }],
        kept: vec![kept("en", 5), kept("zh", 3)],
        n_ids: 128,
    }
}

/// Nine deviations, more than there are colours, at two multipliers; one point stopped itself.
fn search() -> Results {
    let mut points = Vec::new();
    for std in 1..=9 {
        for output_multiplier in [1.0, 2.0] {
            for lr in [1e-3, 2e-3, 4e-3] {
                let at = SearchPoint { lr, init_std: f64::from(std) / 100.0, output_multiplier };
                points.push(Point { at, loss: Some(5.0 + lr * f64::from(std)), spread: 0.0 });
            }
        }
    }
    points[4].loss = None;
    Results {
        frozen: Frozen { tokenizer: "abc".into(), mix: "def".into() },
        n_parameters: 1000,
        width: 8,
        tokens: 320,
        best: points[0].at,
        points,
        trials: Vec::new(),
    }
}

fn predicted() -> PredictedLosses {
    let band = |n: f64| Band { loss: 3.0 + 100.0 / n, low: 2.5 + 100.0 / n, high: 3.5 + 100.0 / n };
    let sizes = [100.0, 200.0, 400.0, 800.0, 1600.0];
    let point = |n: f64| SizedLoss { n_parameters: n, loss: band(n).loss };
    let points = sizes.map(point).to_vec();
    let prediction = |stage: &str, step: u64, is_reached: bool| Prediction {
        stage: stage.into(),
        step,
        tokens: step * 32,
        is_reached,
        n_parameters: 1600,
        band: band(1600.0),
    };
    let curve = sizes.map(|n| (n, band(n))).to_vec();
    PredictedLosses {
        confidence: 0.9,
        laws: vec![Law { step: 10, tokens: 320, a: 100.0, b: -1.0, c: 3.0, scatter: 0.01, points, curve }],
        predictions: vec![prediction("a", 10, true), prediction("b", 10, false)],
        missing: vec!["no law after step 1: <b>".into()],
        trials: Vec::new(),
    }
}

/// A run in which everything holds.
fn facts() -> Facts {
    let mup = MuP { base_width: 8, input_multiplier: 1.0, output_multiplier: 1.0, init_std: 0.02 };
    let plan = plan(&[request("a", 8, false), request("b", 16, true)], mup).unwrap();
    Facts {
        title: "<title> & \"more\"".into(),
        name: "tiny".into(),
        seed: 7,
        run_hash: "0123456789abcdef".into(),
        forecast: Ok(planned(&plan)),
        plan,
        cost: Cost { usd_per_hour: 3.6, watts: 1000.0 },
        corpus: corpus(),
        packed: vec![packed("a"), packed("b")],
        held_out: 0.02,
        log: log(),
        search: Some(search()),
        predicted: Some(predicted()),
        eval: Evaluation {
            validations: vec![validation("b", 640, "en", 5.0)],
            tasks: vec![Task { name: "count".into(), n_items: 10, ..Task::default() }],
            samples: vec![Sample { prompt: "<i>却说".into(), text: "曹操</i>".into() }],
        },
        folders: vec![Folder { name: "documents".into(), hash: "abc".into(), ..Folder::default() }],
    }
}

fn planned(plan: &RunPlan) -> planner::Forecast {
    let resources = Resources {
        device: Hardware::built_in().find("cpu").unwrap().clone(),
        n_devices: 1,
        precision: Precision::Float32,
        recompute: Recompute::None,
        usd_per_device_hour: 3.6,
        kg_co2e_per_kwh: None,
        power_usage_effectiveness: 1.0,
        speeds: std::collections::BTreeMap::new(),
    };
    forecast(plan, &[Layout::ONE; 2], &resources).unwrap()
}

/// Everything optional is gone.
fn bare() -> Facts {
    let mut facts = facts();
    facts.forecast = Err("no <GPU>".to_owned());
    (facts.log, facts.eval, facts.corpus) = (Log::default(), Evaluation::default(), Corpus::default());
    (facts.packed, facts.folders) = (Vec::new(), Vec::new());
    (facts.search, facts.predicted) = (None, None);
    facts
}

fn verdict(facts: &Facts, what: &str) -> Verdict {
    let found: Vec<Check> =
        checks(facts).into_iter().flat_map(|(_, checks)| checks).filter(|check| check.what.contains(what)).collect();
    assert_eq!(found.len(), 1, "{what} names one check: {found:?}");
    found[0].verdict
}

#[test]
fn text_cannot_leave_its_place() {
    assert_eq!(escape("<a href=\"x\">&'</a>"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;&lt;/a&gt;");
    assert_eq!(escape("a\u{0}\n却"), "a\u{fffd}\n却");
    let html = page::page(&facts());
    for raw in ["<title> &", "<b>oui", "<i>却说", "曹操</i>"] {
        assert!(!html.contains(raw), "{raw} stands in the page unescaped");
    }
    assert!(html.contains("&lt;b&gt;oui&lt;/b&gt;"));
}

#[test]
fn numbers_are_written_for_people() {
    let check = |found: String, expected: &str| assert_eq!(found.replace('\u{202f}', " "), expected);
    check(whole(17_220), "17,220");
    check(whole(999), "999");
    check(whole(1_000_000), "1,000,000");
    check(short(1_638_400.0), "1.64M");
    check(short(999.0), "999");
    check(short(999_600.0), "1M");
    check(short(f64::NAN), "–");
    check(percent(0.534), "53.4 %");
    check(percent(f64::NAN), "–");
    check(fixed(5.0161, 2), "5.02");
    check(bytes(19_200_000), "19.2 MB");
    check(flops(4.98e13), "49.8 TFLOP");
    check(flops(5.2e22), "52 ZFLOP");
    check(scientific(1.14e-5), "1.1 × 10<sup>−5</sup>");
    check(scientific(1e-4), "10<sup>−4</sup>");
    check(scientific(0.0), "0");
    check(duration(0.957), "0.96 s");
    check(duration(381.4), "6 min 21 s");
    check(duration(7_261.0), "2 h 01 min");
    check(duration(1e6), "11 d 13 h");
    check(money(0.010_6), "$0.0106");
    check(money(12.3), "$12.30");
    check(money(28_900.0), "$28,900");
    check(energy(0.004_23), "4.23 Wh");
}

#[test]
fn a_good_run_passes_everything() {
    let all: Vec<Check> = checks(&facts()).into_iter().flat_map(|(_, checks)| checks).collect();
    assert!(all.iter().all(|check| check.verdict == Verdict::Holds), "{all:#?}");
    assert!(page::page(&facts()).contains(&format!("All {} conditions hold.", all.len())));
}

#[test]
fn what_does_not_hold_fails() {
    let check = |change: fn(&mut Facts), what: &str, expected: Verdict| {
        let mut facts = facts();
        change(&mut facts);
        assert_eq!(verdict(&facts, what), expected, "{what}");
        assert!(!page::page(&facts).contains("conditions hold.</p>"), "{what} is told");
    };
    let (fails, unknown) = (Verdict::Fails, Verdict::NotMeasured);
    check(|facts| facts.log.growths[0].max_logit_diff = 1.1e-4, "largest change of a logit", fails);
    check(|facts| facts.log.growths[0].max_logit_diff = f64::NAN, "largest change of a logit", fails);
    check(|facts| facts.log.growths[0].loss_after += 0.002, "change of the loss", fails);
    check(|facts| facts.log.growths.clear(), "change of the loss", unknown);
    check(|facts| facts.log.validations[1].loss = 6.0, "below the unigram entropy", fails);
    check(|facts| facts.log.validations[1].loss = 5.5, "below that of stage a", fails);
    check(|facts| facts.log.validations.clear(), "Validation loss", unknown);
    check(|facts| facts.eval.validations[0].loss += 0.1, "read back", fails);
    check(|facts| facts.eval.validations.clear(), "read back", unknown);
    check(|facts| facts.corpus.n_dropped = 3, "Documents in = kept + dropped", fails);
    check(|facts| facts.corpus.funnel[0].n = 2, "sum over all rules", fails);
    check(|facts| facts.corpus.kept.truncate(1), "documents tokenized", fails);
    check(|facts| facts.packed[1].groups[0].n_rows_found = 20, "Stage b: rows by which", fails);
    check(|facts| facts.packed[0].n_padding = 7, "Stage a: tokens + padding", fails);
    check(|facts| facts.log.steps.truncate(15), "Tokens trained on", fails);
}

#[test]
fn a_failed_check_does_not_read_like_a_true_one() {
    let mut facts = facts();
    facts.corpus.n_dropped = 3;
    let html = page::page(&facts);
    assert!(html.contains("<b>12</b>, not 11"));
    assert!(html.contains("class=\"verdict fail\""));
}

#[test]
fn the_page_has_every_section_and_needs_nothing_from_outside() {
    for html in [page::page(&facts()), page::page(&bare())] {
        for (anchor, heading, _) in page::SECTIONS {
            assert!(html.contains(&format!("<section id=\"{anchor}\">\n<h2>{heading}</h2>")), "{heading}");
        }
        for outside in ["<script", "src=", "@import", "url(", "<link"] {
            assert!(!html.contains(outside), "{outside} asks for something outside the file");
        }
        assert!(!html.contains("NaN") && !html.contains("inf%"), "numbers that are none are shown as a dash");
    }
}

#[test]
fn what_is_missing_is_said() {
    let html = page::page(&bare());
    assert!(html.contains("The run cannot be planned: no &lt;GPU&gt;."));
    for expected in [
        "No search was made",
        "No loss was predicted",
        "No growth took place",
        "No step was logged",
        "was not evaluated",
        "No samples were drawn",
    ] {
        assert!(html.contains(expected), "{expected}");
    }
    assert!(html.contains("were not measured") || html.contains("conditions fail"));
}

/// A run whose last step was passed over has used up its tokens all the same; one without spikes says nothing about them.
#[test]
fn spikes_are_listed_with_their_reasons() {
    let mut facts = facts();
    assert!(!page::page(&facts).contains("Spikes"));
    let last = facts.log.steps.pop().unwrap();
    let why = || "the loss 9 lies <b>far</b> above".to_owned();
    facts.log.skips = vec![Skip { step: 20, tokens: last.tokens, why: why(), n_documents: 5 }];
    facts.log.rollbacks = vec![Rollback { step: 12, why: why(), skipped: (18, 20), n_documents: 6 }];
    assert_eq!(verdict(&facts, "Tokens trained on"), Verdict::Holds);
    let html = page::page(&facts);
    for expected in [
        "<h3>Spikes</h3>",
        "1 step was passed over, the run went back 1 time;",
        "back to step 12, to pass over 18 to 20",
        "lies &lt;b&gt;far&lt;/b&gt; above",
        ">5<",
        ">6<",
    ] {
        assert!(html.contains(expected), "{expected}");
    }
}

/// Stages in time, money over tokens and memory by kind: as wide as they are large.
#[test]
fn the_plan_is_drawn_to_scale() {
    let facts = facts();
    let html = page::page(&facts);
    let section = &html[html.find("<section id=\"plan\">").unwrap()..];
    let section = &section[..section.find("</section>").unwrap()];
    for name in
        ["Time of the stages: growing", "Time of the stages: from scratch", "Money over tokens", "Memory of a stage: b"]
    {
        assert!(section.contains(name), "{name}");
    }
    let forecast = facts.forecast.as_ref().unwrap();
    let width = |label: &str| -> f64 {
        let bar = &section[section.find(label).unwrap()..];
        let bar = &bar[..bar.find("</div>").unwrap()];
        bar.split("width:").skip(1).map(|part| part[..part.find('%').unwrap()].parse::<f64>().unwrap()).sum()
    };
    assert!((width("Time of the stages: from scratch") - 100.0).abs() < 0.05);
    assert!((width("Time of the stages: growing") / 100.0 - (1.0 - forecast.saving)).abs() < 0.001);
    assert!((width("Memory of a stage: b") - 100.0).abs() < 0.05);
}

#[test]
fn charts_take_any_number_of_points() {
    for n in [0, 1, 2, 20, 10_000] {
        let mut facts = facts();
        let step = facts.log.steps[3].clone();
        facts.log.steps = (0..n).map(|index| Step { tokens: index, ..step.clone() }).collect();
        facts.log.validations.truncate(n.min(2) as usize);
        for svg in [charts::loss(&facts), charts::speed(&facts), charts::schedule(&facts)] {
            assert_eq!(svg.contains("<svg"), n > 0, "{n} points");
            assert!(svg.len() < 100_000, "{n} points make {} bytes", svg.len());
        }
    }
}

#[test]
fn charts_leave_out_what_is_no_number() {
    let mut facts = facts();
    facts.log.steps.iter_mut().for_each(|step| step.loss = f64::NAN);
    facts.log.validations.clear();
    assert!(!charts::loss(&facts).contains("<svg"));
    facts.log.steps[4].loss = 3.0;
    assert!(charts::loss(&facts).contains("<svg"));
}

/// The style sheet turns colours dark by their value; one that it does not know would stay light.
#[test]
fn the_style_sheet_knows_every_colour_of_a_chart() {
    let style = include_str!("style.css");
    let svg = page::page(&facts());
    for attribute in ["fill=\"#", "stroke=\"#"] {
        for rest in svg.split(attribute).skip(1) {
            let selector = format!("[{attribute}{}\"]", &rest[..6]);
            assert!(style.contains(&selector), "{selector} has no dark twin");
        }
    }
}

/// A line for each deviation in every panel, one ring in all of them, and a stage that left its band.
#[test]
fn a_search_and_a_prediction_are_drawn() {
    let html = page::page(&facts());
    let section = &html[html.find("<section id=\"search\">").unwrap()..];
    let section = &section[..section.find("</section>").unwrap()];
    let wide: Vec<&str> =
        section.split("<svg class=\"chart wide\"").skip(1).map(|svg| svg.split("</svg>").next().unwrap()).collect();
    assert_eq!(wide.len(), 3);
    let rings = |svg: &str| {
        svg.matches("fill=\"none\" stroke=\"#4A4843\"").count()
            - svg.matches("<polyline fill=\"none\" opacity=\"1\" stroke=\"#4A4843\"").count()
    };
    assert_eq!([rings(wide[0]), rings(wide[1])], [1, 0], "{}", wide[0]);
    for expected in ["initial deviation 0.09", "<strong>outside</strong>", "no law after step 1: &lt;b&gt;", "one"] {
        assert!(section.contains(expected), "{expected}");
    }
    assert!(section.contains("the best lr is the lowest that was tried"));
}

#[test]
fn time_is_what_the_speed_says_and_other_is_the_rest() {
    let mut step = Step { tokens_per_s: 16.0, ..Step::default() };
    (step.seconds.forward, step.seconds.backward, step.seconds.checkpoint) = (0.5, 1.0, 3.0);
    let time = Time::of([&step, &step].into_iter(), 32);
    assert_eq!(time.parts, [0.0, 1.0, 2.0, 0.0, 0.0, 6.0, 1.0]);
    assert_eq!(time.total(), 10.0);
    // Ten steps a stage of half a second, and a second of growth.
    assert_eq!(facts().seconds(), 11.0);
}

#[test]
fn null_is_read_as_not_a_number() {
    let line = r#"{"stage":"a","tokens":1,"loss":null,"lr":0.1,"mask":1.0,"tokens_per_s":2.0,"seconds":{}}"#;
    let step: Step = serde_json::from_str(line).unwrap();
    assert!(step.loss.is_nan());
}
