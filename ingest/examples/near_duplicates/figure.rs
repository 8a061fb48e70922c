//! The figure: the theory of each choice of bands as a line, what ingest proposes as dots with two standard errors.
//! Plain SVG in colours that can be seen on light and on dark paper.

use std::fmt::Write;

use ingest::proposed;

use crate::curve::{Curve, LEAST};
use crate::{Found, Group};

const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 430.0;

/// Where the panels lie: room for labels at the left and below, and for names above.
const PANEL_WIDTH: f64 = 390.0;
const PANEL_HEIGHT: f64 = 310.0;
const TOP: f64 = 44.0;

const TEXT: &str = "#6b6963";
const GRID: &str = "#b9b5ab";
const COLORS: [&str; 5] = ["#2f6da8", "#c0502e", "#4f8a4b", "#805aa5", "#9a7b1c"];

/// A panel's scales.
struct Panel {
    left: f64,
}

impl Panel {
    fn x(&self, jaccard: f64) -> f64 {
        self.left + (jaccard - LEAST) / (1.0 - LEAST) * PANEL_WIDTH
    }

    fn y(&self, share: f64) -> f64 {
        TOP + (1.0 - share) * PANEL_HEIGHT
    }
}

/// Draws the first group of each language.
pub(crate) fn draw(found: &[Found]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"14\" role=\"img\" aria-label=\"Share of pairs proposed over their similarity\">\n"
    );
    for (index, group) in found.iter().filter_map(|found| found.groups.first()).enumerate() {
        draw_panel(&mut svg, &Panel { left: 56.0 + index as f64 * (PANEL_WIDTH + 68.0) }, group);
    }
    let curves = found.first().and_then(|found| found.groups.first()).map_or(&[][..], |group| &group.curves);
    for (index, (curve, color)) in curves.iter().zip(COLORS).enumerate() {
        let x = 56.0 + index as f64 * 172.0;
        let name = format!("{} bands of {}", curve.bands.n_bands, curve.bands.n_rows);
        line(&mut svg, (x, 412.0), (x + 22.0, 412.0), color, 2.5);
        text(&mut svg, (x + 30.0, 417.0), "start", &name);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(svg: &mut String, panel: &Panel, group: &Group) {
    for step in 0..=5 {
        let share = f64::from(step) / 5.0;
        line(svg, (panel.x(LEAST), panel.y(share)), (panel.x(1.0), panel.y(share)), GRID, 0.5);
        text(svg, (panel.left - 8.0, panel.y(share) + 5.0), "end", &format!("{:.0} %", share * 100.0));
    }
    for step in 3..=10 {
        let jaccard = f64::from(step) / 10.0;
        text(svg, (panel.x(jaccard), panel.y(0.0) + 20.0), "middle", &format!("{jaccard:.1}"));
    }
    let title = format!("{}: pairs proposed", group.name);
    text(svg, (panel.left, TOP - 16.0), "start", &title);
    text(svg, (panel.x(0.65), panel.y(0.0) + 38.0), "middle", "Jaccard similarity");
    for (curve, color) in group.curves.iter().zip(COLORS).rev() {
        draw_curve(svg, panel, curve, color);
    }
}

fn draw_curve(svg: &mut String, panel: &Panel, curve: &Curve, color: &str) {
    let points = (0..=140).map(|step| {
        let jaccard = LEAST + (1.0 - LEAST) * f64::from(step) / 140.0;
        let share = proposed(jaccard, curve.bands.n_bands.get(), curve.bands.n_rows.get());
        format!("{:.1},{:.1}", panel.x(jaccard), panel.y(share))
    });
    let points = points.collect::<Vec<_>>().join(" ");
    push(svg, format_args!("<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>"));
    for bin in curve.bins().iter().filter(|bin| bin.n_pairs > 0) {
        let (x, share) = (panel.x(bin.jaccard / bin.n_pairs as f64), bin.share(bin.shipped as f64));
        let error = 2.0 * bin.share(bin.drawn().1);
        let (low, high) = (panel.y((share - error).max(0.0)), panel.y((share + error).min(1.0)));
        line(svg, (x, low), (x, high), color, 1.5);
        let y = panel.y(share);
        push(svg, format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{color}\"/>"));
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), color: &str, width: f64) {
    let ((x1, y1), (x2, y2)) = (from, to);
    push(
        svg,
        format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{color}\" \
             stroke-width=\"{width}\"/>"
        ),
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    push(svg, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{TEXT}\">{words}</text>"));
}

fn push(svg: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(svg, "{element}").expect("a string takes everything");
}
