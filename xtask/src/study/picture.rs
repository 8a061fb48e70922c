//! One picture of the study: on the left, loss over FLOPs while training; on the right, every arm's loss at the end, at equal FLOPs.

use std::fmt::Write as _;

use super::arms::{Budget, scratch_flops, words};
use super::outcome::{Outcome, Spread, arms, reached, spread};

const WIDTH: f64 = 1200.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 470.0;
/// Left and right edge of both panels.
const CURVES: (f64, f64) = (60.0, 540.0);
const ENDS: (f64, f64) = (820.0, 1060.0);

/// So far above scratch, in nats, an end is drawn at the edge.
const FAR: f64 = 0.08;

/// Whose curves are drawn, and in which colour.
const DRAWN: [(&str, &str); 5] = [
    ("scratch", "#222222"),
    ("small-shallow", "#9a9a9a"),
    ("depth-stack", "#c2410c"),
    ("both-masked", "#1d4ed8"),
    ("three-stable", "#15803d"),
];

/// From numbers to places.
struct Scale {
    from: (f64, f64),
    to: (f64, f64),
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let way = (value - self.from.0) / (self.from.1 - self.from.0);
        self.to.0 + way * (self.to.1 - self.to.0)
    }
}

pub(super) fn draw(outcomes: &[Outcome]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} 520\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    text(&mut svg, (CURVES.0, 28.0), "start", "Held-out loss while training (mean of seeds)", 16);
    text(
        &mut svg,
        (590.0, 28.0),
        "start",
        "Held-out loss at the end: each spent the FLOPs of the model from scratch",
        16,
    );
    curves(&mut svg, outcomes);
    ends(&mut svg, outcomes);
    svg.push_str("</svg>\n");
    svg
}

fn curves(svg: &mut String, outcomes: &[Outcome]) {
    let drawn =
        |outcome: &&Outcome| outcome.budget == Budget::EqualFlops && DRAWN.iter().any(|(arm, _)| *arm == outcome.arm);
    let last = outcomes.iter().filter(drawn).map(|outcome| outcome.loss).fold(f64::INFINITY, f64::min);
    if !last.is_finite() {
        return;
    }
    let x = Scale { from: (0.0, 1.0), to: CURVES };
    let y = Scale { from: (last - 0.05, last + 1.0), to: (BOTTOM, TOP) };
    axes(svg, &x, &y, CURVES);
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        text(svg, (x.at(share), BOTTOM + 20.0), "middle", &format!("{share}"), 13);
    }
    text(
        svg,
        (f64::midpoint(CURVES.0, CURVES.1), BOTTOM + 42.0),
        "middle",
        "FLOPs, as a share of the model's from scratch",
        13,
    );
    for (row, (arm, colour)) in DRAWN.into_iter().enumerate() {
        let of: Vec<&Outcome> =
            outcomes.iter().filter(|outcome| outcome.arm == arm && outcome.budget == Budget::EqualFlops).collect();
        let Some(first) = of.first() else { continue };
        let mean = |index: usize| of.iter().map(|outcome| outcome.curve[index].1).sum::<f64>() / of.len() as f64;
        let points =
            first.curve.iter().enumerate().filter(|(index, _)| of.iter().all(|outcome| outcome.curve.len() > *index));
        let points: Vec<String> = points
            .map(|(index, (flops, _))| (flops / scratch_flops(), mean(index)))
            .filter(|(_, loss)| *loss < last + 1.0)
            .map(|(share, loss)| format!("{:.1},{:.1}", x.at(share), y.at(loss)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
        let at = TOP + 10.0 + 20.0 * row as f64;
        let _ = writeln!(
            svg,
            "<line x1=\"330\" x2=\"360\" y1=\"{at}\" y2=\"{at}\" stroke=\"{colour}\" stroke-width=\"3\"/>"
        );
        text(svg, (368.0, at + 4.0), "start", words(arm), 13);
    }
}

fn ends(svg: &mut String, outcomes: &[Outcome]) {
    let mut rows: Vec<(&str, Spread)> = arms(outcomes)
        .into_iter()
        .filter_map(|arm| spread(outcomes, arm, Budget::EqualFlops).map(|spread| (arm, spread)))
        .collect();
    rows.sort_by(|a, b| a.1.mean.total_cmp(&b.1.mean));
    let scratch = rows.iter().find(|(arm, _)| *arm == "scratch").map(|(_, spread)| spread.mean);
    let (Some(best), Some(worst)) = (rows.first(), rows.last()) else { return };
    let most = worst.1.mean.min(scratch.map_or(f64::INFINITY, |scratch| scratch + FAR));
    let x = Scale { from: (best.1.mean - 0.02, most + 0.02), to: ENDS };
    let y = Scale { from: (0.0, rows.len() as f64), to: (TOP, BOTTOM) };
    axes(svg, &x, &Scale { from: (0.0, 1.0), to: (BOTTOM, TOP) }, ENDS);
    let marks = ((x.from.0 * 20.0).ceil() as i64..=(x.from.1 * 20.0).floor() as i64).map(|mark| mark as f64 / 20.0);
    for mark in marks {
        text(svg, (x.at(mark), BOTTOM + 20.0), "middle", &format!("{mark:.2}"), 13);
    }
    text(
        svg,
        (f64::midpoint(ENDS.0, ENDS.1), BOTTOM + 42.0),
        "middle",
        "held-out loss in nats, with a standard deviation either way",
        13,
    );
    text(svg, (ENDS.1 + 70.0, TOP - 22.0), "middle", "FLOPs to the loss of", 12);
    text(svg, (ENDS.1 + 70.0, TOP - 8.0), "middle", "the one from scratch", 12);
    if let Some(scratch) = scratch {
        let at = x.at(scratch);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\" stroke=\"#222222\" stroke-dasharray=\"4 4\"/>"
        );
        text(svg, (at, TOP - 8.0), "middle", "from scratch", 12);
    }
    for (row, (arm, spread)) in rows.iter().enumerate() {
        let at = y.at(row as f64 + 0.5);
        let colour = DRAWN.iter().find(|(drawn, _)| drawn == arm).map_or("#666666", |(_, colour)| colour);
        text(svg, (ENDS.0 - 10.0, at + 4.0), "end", words(arm), 13);
        text(svg, (ENDS.1 + 70.0, at + 4.0), "middle", &reached("scratch", arm, outcomes), 12);
        if spread.mean > x.from.1 {
            text(svg, (ENDS.1 - 2.0, at + 4.0), "end", &format!("{:.2} →", spread.mean), 12);
            continue;
        }
        let (low, high) = (x.at(spread.mean - spread.deviation), x.at(spread.mean + spread.deviation));
        let _ = writeln!(
            svg,
            "<line x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        let _ = writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{at:.1}\" r=\"4.5\" fill=\"{colour}\"/>", x.at(spread.mean));
    }
}

fn axes(svg: &mut String, x: &Scale, y: &Scale, edges: (f64, f64)) {
    let _ = writeln!(svg, "<path d=\"M{} {TOP}V{BOTTOM}H{}\" fill=\"none\" stroke=\"#888888\"/>", edges.0, x.to.1);
    if y.from == (0.0, 1.0) {
        return;
    }
    let marks = ((y.from.0 * 5.0).ceil() as i64..=(y.from.1 * 5.0).floor() as i64).map(|mark| mark as f64 / 5.0);
    for mark in marks {
        text(svg, (edges.0 - 8.0, y.at(mark) + 4.0), "end", &format!("{mark:.1}"), 13);
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, words: &str, size: u32) {
    let _ =
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{words}</text>");
}
