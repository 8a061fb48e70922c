//! Charts over tokens, as SVG text. Pure: numbers in, a string out.
//!
//! The drawing is done at [`FINE`] times the size it is shown at, since the backend rounds to whole pixels and a curve
//! would show steps. Colours are written as attributes; the style sheet knows them by value and gives each its dark
//! twin, so one drawing serves light, dark and paper. Every chart is drawn wide and narrow: text that shrinks with a
//! picture cannot be read on a phone.

use std::io;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::facts::{Facts, Time};
use super::markup::{escape, money, short};

mod trials;

pub(super) use trials::{law, line_class, search};

/// Drawn pixels for one shown pixel.
const FINE: u32 = 3;

/// Room above the curves for the names of the stages, in shown pixels.
const NAMES_HEIGHT: u32 = 42;

/// More points than this cannot be told apart.
const POINTS_MAX: usize = 480;

const TEXT: RGBColor = RGBColor(0x6B, 0x69, 0x63);
const GRID: RGBColor = RGBColor(0xE6, 0xE3, 0xDC);
const BAND: RGBColor = RGBColor(0xF4, 0xF1, 0xEA);
const GROWTH: RGBColor = RGBColor(0x8F, 0x8A, 0x7E);
const FAINT: RGBColor = RGBColor(0xC9, 0xC5, 0xBB);
const STRONG: RGBColor = RGBColor(0x4A, 0x48, 0x43);

/// Colours of languages, by their position.
const LANGUAGES: [RGBColor; 4] =
    [RGBColor(0x2F, 0x6D, 0xA8), RGBColor(0xC0, 0x50, 0x2E), RGBColor(0x4F, 0x8A, 0x4B), RGBColor(0x80, 0x5A, 0xA5)];

/// The same, dashed.
const LIMITS: [RGBColor; 4] =
    [RGBColor(0x30, 0x6D, 0xA8), RGBColor(0xC1, 0x50, 0x2E), RGBColor(0x50, 0x8A, 0x4B), RGBColor(0x81, 0x5A, 0xA5)];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plot<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;
type Points = Vec<(f64, f64)>;

/// A curve and how it is drawn.
struct Curve {
    points: Points,
    color: RGBColor,
    width: u32,
    /// Radius of the dot at every point.
    dots: Option<u32>,
}

/// A stage on the x axis.
struct Band {
    name: String,
    below_name: String,
    from: f64,
    to: f64,
    is_grown: bool,
}

/// Everything of a chart but its size.
struct Chart {
    /// For those who cannot see it.
    label: String,
    bands: Vec<Band>,
    curves: Vec<Curve>,
    y: (f64, f64),
    y_text: fn(&f64) -> String,
}

/// The class by which the style sheet knows a language's colour.
pub(super) fn language_class(position: usize) -> String {
    format!("l{}", position % LANGUAGES.len())
}

/// Loss of every step, its running mean, and the validation loss of every language over its unigram entropy.
pub(super) fn loss(facts: &Facts) -> String {
    let steps = points(facts, |step| step.loss);
    let mean = running_mean(&steps, steps.len().div_ceil(40));
    let mut curves = vec![
        Curve { points: extremes(&steps), color: FAINT, width: 1, dots: None },
        Curve { points: thinned(&mean), color: STRONG, width: 2, dots: None },
    ];
    for (position, lang) in facts.langs().iter().enumerate() {
        let rows: Vec<_> = facts.log.validations.iter().filter(|row| row.lang == *lang).collect();
        let color = LANGUAGES[position % LANGUAGES.len()];
        let points = finite(rows.iter().map(|row| (row.tokens as f64, row.loss)));
        curves.push(Curve { points, color, width: 2, dots: Some(4) });
        if let Some(last) = rows.last() {
            let entropy = last.unigram_entropy;
            let points = finite([(0.0, entropy), (facts.plan.n_tokens() as f64, entropy)].into_iter());
            curves.push(Curve { points, color: LIMITS[position % LIMITS.len()], width: 1, dots: None });
        }
    }
    let label = "Loss over tokens: every step, its running mean, and the validation loss of every language";
    chart(facts, label, curves, None, |y| format!("{y:.1}"))
}

/// Tokens a second.
pub(super) fn speed(facts: &Facts) -> String {
    let steps = points(facts, |step| step.tokens_per_s);
    let mut curves = vec![Curve { points: extremes(&steps), color: FAINT, width: 1, dots: None }];
    // Growth changes the speed at once, so the mean does not reach across it.
    for stage in facts.log.steps.chunk_by(|a, b| a.stage == b.stage) {
        let steps = finite(stage.iter().map(|step| (step.tokens as f64, step.tokens_per_s)));
        let mean = running_mean(&steps, steps.len().div_ceil(20));
        curves.push(Curve { points: thinned(&mean), color: STRONG, width: 2, dots: None });
    }
    chart(facts, "Tokens a second over tokens", curves, Some(0.0), |y| short(*y))
}

/// Learning rate, as a share of its highest value, and the mask of new coordinates.
pub(super) fn schedule(facts: &Facts) -> String {
    let rates = points(facts, |step| step.lr);
    let highest = rates.iter().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
    let rates: Points = rates.into_iter().map(|(x, y)| (x, y / highest)).collect();
    let masks = points(facts, |step| step.mask);
    let curves = vec![
        Curve { points: thinned(&masks), color: GROWTH, width: 2, dots: None },
        Curve { points: thinned(&rates), color: STRONG, width: 2, dots: None },
    ];
    chart(facts, "Learning rate and mask over tokens", curves, Some(0.0), |y| format!("{:.0} %", y * 100.0))
}

/// Money over tokens: planned, planned for the last model from scratch, and spent.
pub(super) fn spending(facts: &Facts) -> String {
    let Ok(forecast) = &facts.forecast else { return String::new() };
    let (mut grown, mut scratch) = (vec![(0.0, 0.0)], vec![(0.0, 0.0)]);
    for stage in &forecast.stages {
        let next = |points: &Points, usd: f64| {
            (points[points.len() - 1].0 + stage.amounts.tokens as f64, points[points.len() - 1].1 + usd)
        };
        grown.push(next(&grown, stage.amounts.usd));
        scratch.push(next(&scratch, stage.from_scratch.usd));
    }
    let curves = vec![
        Curve { points: thinned(&spent(facts)), color: FAINT, width: 3, dots: None },
        Curve { points: scratch, color: GROWTH, width: 2, dots: None },
        Curve { points: grown, color: STRONG, width: 2, dots: None },
    ];
    chart(facts, "Money over tokens", curves, Some(0.0), |y| money(*y))
}

/// Money for all steps, checkpoints and growth up to every step.
fn spent(facts: &Facts) -> Points {
    let (mut seconds, mut points) = (0.0, Vec::with_capacity(facts.log.steps.len()));
    let mut stage_before = None;
    for step in &facts.log.steps {
        if let Some(stage) = facts.plan.stages.iter().find(|stage| stage.name == step.stage) {
            let growths = facts.log.growths.iter().filter(|growth| growth.stage_to == stage.name);
            if stage_before.is_some_and(|before| before != &step.stage) {
                seconds += growths.map(|growth| growth.seconds).sum::<f64>();
            }
            stage_before = Some(&step.stage);
            seconds += Time::of(std::iter::once(step), stage.batch_tokens()).total();
            points.push((step.tokens as f64, facts.cost.usd(seconds)));
        }
    }
    finite(points.into_iter())
}

fn points(facts: &Facts, value: fn(&super::facts::Step) -> f64) -> Points {
    finite(facts.log.steps.iter().map(|step| (step.tokens as f64, value(step))))
}

fn finite(points: impl Iterator<Item = (f64, f64)>) -> Points {
    points.filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
}

/// The mean over `reach` points on either side; near the ends over a quarter of them, so that a slope is hardly bent there
/// and the last points do not jump about.
fn running_mean(points: &[(f64, f64)], reach: usize) -> Points {
    let mut sums = vec![0.0];
    for (_, y) in points {
        sums.push(sums[sums.len() - 1] + y);
    }
    let mean = |index: usize| {
        let reach = reach.min(index.min(points.len() - 1 - index).max(reach / 4));
        let (from, to) = (index.saturating_sub(reach), (index + reach + 1).min(points.len()));
        (sums[to] - sums[from]) / (to - from) as f64
    };
    points.iter().enumerate().map(|(index, (x, _))| (*x, mean(index))).collect()
}

/// Evenly chosen points, the last among them.
fn thinned(points: &[(f64, f64)]) -> Points {
    let stride = points.len().div_ceil(POINTS_MAX).max(1);
    points.iter().rev().step_by(stride).rev().copied().collect()
}

/// Lowest and highest point of every stretch, so that no spike is lost.
fn extremes(points: &[(f64, f64)]) -> Points {
    let stretch = points.len().div_ceil(POINTS_MAX).max(1);
    let pair = |part: &[(f64, f64)]| {
        let low = part.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        let high = part.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)).filter(|_| part.len() > 1);
        [low, high]
    };
    points.chunks(stretch).flat_map(pair).flatten().collect()
}

fn chart(facts: &Facts, label: &str, curves: Vec<Curve>, y_min: Option<f64>, y_text: fn(&f64) -> String) -> String {
    let values = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
    if low > high {
        return "<p class=\"missing\">Nothing was logged to draw here.</p>\n".to_owned();
    }
    let room = ((high - low) * 0.06).max(high.abs() * 0.01).max(1e-9);
    let y = (y_min.unwrap_or(low - room), high + room);
    let chart = Chart { label: label.to_owned(), bands: bands(facts), curves, y, y_text };
    let sizes = [("wide", (920, 370)), ("narrow", (380, 300))];
    sizes.into_iter().map(|(class, size)| render(&chart, class, size)).collect()
}

fn bands(facts: &Facts) -> Vec<Band> {
    let mut from = 0;
    let mut band = |stage: &planner::StagePlan| {
        let (start, to) = (from, from + stage.n_tokens());
        from = to;
        Band {
            name: stage.name.clone(),
            below_name: short(stage.shape.n_parameters() as f64),
            from: start as f64,
            to: to as f64,
            is_grown: stage.growth.is_some(),
        }
    };
    facts.plan.stages.iter().map(&mut band).collect()
}

fn render(chart: &Chart, class: &str, size: (u32, u32)) -> String {
    render_with(&chart.label, class, size, |area| draw(chart, area))
}

fn render_with(label: &str, class: &str, (width, height): (u32, u32), draw: impl FnOnce(Area<'_>) -> Drawn) -> String {
    let (width, height) = (width * FINE, height * FINE);
    let mut svg = String::new();
    let drawn = draw(SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area());
    if let Err(error) = drawn {
        return format!("<p class=\"missing\">The chart cannot be drawn: {}.</p>\n", escape(&error.to_string()));
    }
    let size = format!("width=\"{width}\" height=\"{height}\"");
    let named = format!("class=\"chart {class}\" role=\"img\" aria-label=\"{}\"", escape(label));
    svg.replacen(&size, &named, 1)
}

fn draw(chart: &Chart, area: Area<'_>) -> Drawn {
    let x_max = chart.bands.last().map_or(1.0, |band| band.to).max(1.0);
    let is_wide = area.dim_in_pixel().0 > 600 * FINE;
    let mut plot = ChartBuilder::on(&area)
        .margin(4 * FINE)
        .margin_top(NAMES_HEIGHT * FINE)
        .margin_right(14 * FINE)
        .x_label_area_size(40 * FINE)
        .y_label_area_size(44 * FINE)
        .build_cartesian_2d(0.0..x_max, chart.y.0..chart.y.1)?;
    draw_bands(chart, &mut plot)?;
    let text = ("sans-serif", 14 * FINE).into_font().color(&TEXT);
    plot.configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(FINE))
        .axis_style(GRID.stroke_width(FINE))
        .label_style(text.clone())
        .axis_desc_style(text)
        .x_desc("tokens trained on")
        .x_labels(if is_wide { 8 } else { 4 })
        .y_labels(6)
        .x_label_formatter(&|x| short(*x))
        .y_label_formatter(&chart.y_text)
        .draw()?;
    for curve in &chart.curves {
        let style = curve.color.stroke_width(curve.width * FINE);
        plot.draw_series(LineSeries::new(curve.points.iter().copied(), style))?;
        if let Some(radius) = curve.dots {
            let dot = |&point| Circle::new(point, radius * FINE, curve.color.filled());
            plot.draw_series(curve.points.iter().map(dot))?;
        }
    }
    draw_names(chart, &mut plot, if is_wide { 15 } else { 13 })?;
    area.present()
}

/// Every second stage is shaded, and a line stands where the model grows.
fn draw_bands(chart: &Chart, plot: &mut Plot<'_, '_>) -> Drawn {
    let (low, high) = chart.y;
    for band in chart.bands.iter().skip(1).step_by(2) {
        let corners = [(band.from, low), (band.to, high)];
        plot.draw_series([Rectangle::new(corners, BAND.filled())])?;
    }
    for band in chart.bands.iter().filter(|band| band.is_grown) {
        let line = vec![(band.from, low), (band.from, high)];
        plot.draw_series([PathElement::new(line, GROWTH.stroke_width(FINE))])?;
    }
    Ok(())
}

/// Name and parameters above every stage that has room for them.
fn draw_names(chart: &Chart, plot: &mut Plot<'_, '_>, size: u32) -> Drawn {
    let style =
        |color: &RGBColor| ("sans-serif", size * FINE).into_font().color(color).pos(Pos::new(HPos::Left, VPos::Top));
    for band in &chart.bands {
        let left = plot.backend_coord(&(band.from, chart.y.1)).0;
        let room = plot.backend_coord(&(band.to, chart.y.1)).0 - left;
        let n_letters = band.name.chars().count().max(band.below_name.chars().count());
        // A letter is a little more than half as wide as the font is high.
        if f64::from(room) < (n_letters as f64 * 0.56 + 0.4) * f64::from(size * FINE) {
            continue;
        }
        let at = |dy: i32| (2 * FINE as i32, (dy - NAMES_HEIGHT as i32) * FINE as i32);
        let names = EmptyElement::at((band.from, chart.y.1))
            + Text::new(band.name.clone(), at(4), style(&STRONG))
            + Text::new(band.below_name.clone(), at(20), style(&TEXT));
        plot.draw_series([names])?;
    }
    Ok(())
}
