//! Charts of small models: the loss of a search over the learning rate, and the law of a prediction over size. Both have a
//! logarithmic x axis, drawn as a linear one of the logarithm.

use plotters::prelude::*;

use super::{Area, BAND, Curve, Drawn, FINE, GRID, LANGUAGES, LIMITS, Points, STRONG, TEXT, finite, render_with};
use crate::prediction::Law;
use crate::report::markup::short;
use crate::sweep::{Point, Results};

/// A chart without stages.
struct Panel {
    label: String,
    x_text: &'static str,
    x_label: fn(&f64) -> String,
    /// Closed, under everything else.
    area: Points,
    curves: Vec<Curve>,
    /// Points with a ring around them.
    rings: Points,
    x: (f64, f64),
    y: (f64, f64),
}

/// The colour of a line of a search, and whether it is dashed: eight can be told apart.
fn line_color(position: usize) -> RGBColor {
    let colors: Vec<RGBColor> = LANGUAGES.into_iter().chain(LIMITS).collect();
    colors[position % colors.len()]
}

/// The class by which the style sheet knows that colour.
pub(in crate::report) fn line_class(position: usize) -> String {
    let kind = if position % (2 * LANGUAGES.len()) < LANGUAGES.len() { "line" } else { "dash" };
    format!("{kind} {}", super::language_class(position))
}

/// Held-out loss over learning rate for one output multiplier, a line for each of `stds`. All panels of a search share `y`.
pub(in crate::report) fn search(results: &Results, output_multiplier: f64, stds: &[f64]) -> String {
    let losses = |point: &Point| point.loss.map(|loss| (point.at.lr.log10(), loss));
    let all = finite(results.points.iter().filter_map(losses));
    let mut curves = Vec::new();
    for (position, std) in stds.iter().enumerate() {
        let of_line = |point: &&Point| (point.at.output_multiplier, point.at.init_std) == (output_multiplier, *std);
        let mut points = finite(results.points.iter().filter(of_line).filter_map(losses));
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        curves.push(Curve { points, color: line_color(position), width: 2, dots: Some(3) });
    }
    let is_best = |point: &&Point| point.at == results.best && point.at.output_multiplier == output_multiplier;
    let rings = finite(results.points.iter().filter(is_best).filter_map(losses));
    panel(&Panel {
        label: format!("Held-out loss over learning rate at output multiplier {output_multiplier}"),
        x_text: "learning rate",
        x_label: |x| format!("{:.1e}", 10_f64.powf(*x)),
        area: Vec::new(),
        curves,
        rings,
        x: range(all.iter().map(|point| point.0), 0.05),
        y: range(all.iter().map(|point| point.1), 0.06),
    })
}

/// A law over parameters with its band, the models it was fitted to, the predicted ones (rings) and what a run found of them.
pub(in crate::report) fn law(law: &Law, predicted: &[(f64, f64)], found: &[(f64, f64)]) -> String {
    let log = |points: &[(f64, f64)]| finite(points.iter().map(|(n, loss)| (n.log10(), *loss)));
    let fitted: Points = law.points.iter().map(|point| (point.n_parameters, point.loss)).collect();
    let curve: Points = law.curve.iter().map(|(n, band)| (*n, band.loss)).collect();
    let low = law.curve.iter().map(|(n, band)| (*n, band.low));
    let area: Points = low.chain(law.curve.iter().rev().map(|(n, band)| (*n, band.high))).collect();
    let all: Points = [&area[..], &fitted, predicted, found].concat();
    let (area, all) = (log(&area), log(&all));
    panel(&Panel {
        label: format!("Held-out loss over parameters after {} tokens", short(law.tokens as f64)),
        x_text: "parameters",
        x_label: |x| short(10_f64.powf(*x)),
        area,
        curves: vec![
            Curve { points: log(&curve), color: STRONG, width: 2, dots: None },
            Curve { points: log(&fitted), color: LANGUAGES[0], width: 0, dots: Some(4) },
            Curve { points: log(found), color: LANGUAGES[1], width: 0, dots: Some(5) },
        ],
        rings: log(predicted),
        x: range(all.iter().map(|point| point.0), 0.04),
        y: range(all.iter().map(|point| point.1), 0.06),
    })
}

/// From the lowest to the highest value, with some room.
fn range(values: impl Iterator<Item = f64>, room: f64) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let room = ((high - low) * room).max(high.abs() * 1e-3).max(1e-6);
    (low - room, high + room)
}

fn panel(panel: &Panel) -> String {
    if panel.curves.iter().all(|curve| curve.points.is_empty()) {
        return "<p class=\"missing\">Nothing was measured to draw here.</p>\n".to_owned();
    }
    let sizes = [("wide", (920, 330)), ("narrow", (380, 300))];
    sizes.into_iter().map(|(class, size)| render_with(&panel.label, class, size, |area| draw(panel, area))).collect()
}

fn draw(panel: &Panel, area: Area<'_>) -> Drawn {
    let is_wide = area.dim_in_pixel().0 > 600 * FINE;
    let mut plot = ChartBuilder::on(&area)
        .margin(8 * FINE)
        .margin_right(14 * FINE)
        .x_label_area_size(40 * FINE)
        .y_label_area_size(48 * FINE)
        .build_cartesian_2d(panel.x.0..panel.x.1, panel.y.0..panel.y.1)?;
    if !panel.area.is_empty() {
        plot.draw_series([Polygon::new(panel.area.clone(), BAND.filled())])?;
    }
    let text = ("sans-serif", 14 * FINE).into_font().color(&TEXT);
    plot.configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(FINE))
        .axis_style(GRID.stroke_width(FINE))
        .label_style(text.clone())
        .axis_desc_style(text)
        .x_desc(panel.x_text)
        .x_labels(if is_wide { 8 } else { 4 })
        .y_labels(6)
        .x_label_formatter(&panel.x_label)
        .y_label_formatter(&|y| format!("{y:.2}"))
        .draw()?;
    for curve in &panel.curves {
        if curve.width > 0 {
            let style = curve.color.stroke_width(curve.width * FINE);
            plot.draw_series(LineSeries::new(curve.points.iter().copied(), style))?;
        }
        if let Some(radius) = curve.dots {
            // Dots have no dashes, so those of a dashed line take the full line's colour.
            let color = LIMITS.iter().position(|limit| *limit == curve.color).map_or(curve.color, |at| LANGUAGES[at]);
            plot.draw_series(curve.points.iter().map(|&point| Circle::new(point, radius * FINE, color.filled())))?;
        }
    }
    let ring = |&point| Circle::new(point, 8 * FINE, STRONG.stroke_width(2 * FINE));
    plot.draw_series(panel.rings.iter().map(ring))?;
    area.present()
}
