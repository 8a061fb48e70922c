//! How the loss falls with size, learned on small models: L(N) = a N^b + c.
//!
//! Under muP, models of several widths that read the same rows at the same hyperparameters end on such a curve, so small ones
//! tell where a large one ends (Yao and Wang, "Research without Re-search", arXiv 2304.06875, section 3; the search and the law of
//! FLM-101B, arXiv 2309.03852, section 3). c is what no model of this kind gets below; a > 0, b < 0, c >= 0.
//!
//! [`fit`] is least squares in nats, and has no randomness: for a given b the best a and c follow from a line through (N^b, L), and
//! b itself is looked for on a fixed grid and then by golden section. Cost: a few hundred lines through the points.
//!
//! [`SizeLaw::band`] says what else the points allow. A loss l belongs to the band at N where adding the point (N, l) to the others
//! raises the least sum of squares from S to no more than S (1 + t^2 / (n - 3)), with t the quantile of Student's distribution with
//! n - 3 degrees of freedom: the profile likelihood of a new observation. Were the law linear in its parameters, this would be
//! the textbook's prediction interval to the last digit; as it is not, the band bends with it, and needs no derivative at the optimum.
//! It knows of scatter around a law of this form. It does not know that the form may be wrong.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Sizes below this leave no degree of freedom to tell how well the law holds.
const SIZES_MIN: usize = 4;

/// Exponents that are looked at: -0.002 is hardly a power any more, -8 a step.
const EXPONENTS: (f64, f64) = (0.002, 8.0);

/// Exponents of the grid, evenly in their logarithm. Between two of them the sum of squares has no room for a second valley.
const GRID: usize = 192;

/// Sums of squares below this share of that of the losses are rounding.
const ROUNDING: f64 = 1e-24;

/// A model that was trained: its parameters, and its loss in nats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizedLoss {
    /// N: parameters, the embedding included.
    pub n_parameters: f64,
    /// Held-out loss in nats a token; the mean where a size was trained more than once.
    pub loss: f64,
}

/// A law, and the points it was fitted to.
#[derive(Clone, Debug, PartialEq)]
pub struct SizeLaw {
    /// Nats by which a model of one parameter would lie above `c`.
    pub a: f64,
    /// The exponent, below 0.
    pub b: f64,
    /// The loss of a model without end, in nats.
    pub c: f64,
    /// Sum of the squared distances of the points, in nats squared.
    pub squares: f64,
    points: Vec<SizedLoss>,
}

/// A loss that is expected, and the band around it; nats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// The law's value.
    pub loss: f64,
    /// Lowest loss that the points allow.
    pub low: f64,
    /// Highest loss that the points allow.
    pub high: f64,
}

impl Band {
    /// Whether a loss lies in the band; one that is no number does not.
    pub fn holds(&self, loss: f64) -> bool {
        (self.low..=self.high).contains(&loss)
    }
}

/// Points that no law can be fitted to.
#[derive(Debug, Error, PartialEq)]
pub enum LawError {
    /// Three parameters and a measure of scatter need four sizes.
    #[error("a law over sizes needs models of at least {SIZES_MIN} different sizes, there are {n_sizes}")]
    TooFew {
        /// Different sizes.
        n_sizes: usize,
    },
    /// A point is no number.
    #[error("a model of {n_parameters} parameters has the loss {loss}: a law needs numbers above 0")]
    NotPositive {
        /// Its parameters.
        n_parameters: f64,
        /// Its loss.
        loss: f64,
    },
    /// Larger models are no better.
    #[error(
        "the losses do not fall with size: the larger models are no better than the smaller ones, so there is nothing to predict from"
    )]
    DoesNotFall,
}

/// Fits the law to points of at least four different sizes, in any order.
pub fn fit(points: &[SizedLoss]) -> Result<SizeLaw, LawError> {
    let is_number = |value: f64| value.is_finite() && value > 0.0;
    if let Some(wrong) = points.iter().find(|point| !is_number(point.n_parameters) || !is_number(point.loss)) {
        return Err(LawError::NotPositive { n_parameters: wrong.n_parameters, loss: wrong.loss });
    }
    let mut sizes: Vec<f64> = points.iter().map(|point| point.n_parameters).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    if sizes.len() < SIZES_MIN {
        return Err(LawError::TooFew { n_sizes: sizes.len() });
    }
    let best = best_law(points, mean_size(points));
    if best.a <= 0.0 {
        return Err(LawError::DoesNotFall);
    }
    Ok(best)
}

impl SizeLaw {
    /// The loss of a model of `n_parameters`, in nats.
    pub fn at(&self, n_parameters: f64) -> f64 {
        self.a * n_parameters.powf(self.b) + self.c
    }

    /// The loss of a model of `n_parameters` with the band that holds it with probability `confidence`, from 0 to below 1.
    ///
    /// # Panics
    /// Where `confidence` is not in that range.
    pub fn band(&self, n_parameters: f64, confidence: f64) -> Band {
        let n_free = self.points.len() - 3;
        let limit = self.squares * (1.0 + student_quantile(confidence, n_free).powi(2) / n_free as f64);
        let loss = self.at(n_parameters);
        let is_exact = self.squares <= ROUNDING * self.points.iter().map(|point| point.loss.powi(2)).sum::<f64>();
        if is_exact {
            return Band { loss, low: loss, high: loss };
        }
        let center = mean_size(&self.points);
        let mut points = self.points.clone();
        points.push(SizedLoss { n_parameters, loss });
        let mut allows = |loss: f64| {
            *points.last_mut().expect("it was pushed") = SizedLoss { n_parameters, loss };
            best_law(&points, center).squares <= limit
        };
        let step = (self.squares / n_free as f64).sqrt();
        let low = if allows(0.0) { 0.0 } else { border(loss, -step.min(loss), &mut allows).max(0.0) };
        Band { loss, low, high: border(loss, step, &mut allows) }
    }
}

/// The last value from `inside` on in the direction of `step` that is allowed, to 1e-9 of the way.
fn border(inside: f64, step: f64, allows: &mut impl FnMut(f64) -> bool) -> f64 {
    let (mut near, mut far) = (0.0, 1.0);
    while allows(inside + far * step) && far < 1e12 {
        (near, far) = (far, far * 2.0);
    }
    while far - near > 1e-9 * far {
        let middle = 0.5 * (near + far);
        if allows(inside + middle * step) {
            near = middle;
        } else {
            far = middle;
        }
    }
    inside + near * step
}

/// The geometric mean of the sizes: powers of N / mean stay near 1, so that no digits are lost.
fn mean_size(points: &[SizedLoss]) -> f64 {
    (points.iter().map(|point| point.n_parameters.ln()).sum::<f64>() / points.len() as f64).exp()
}

/// The law of the least squares over all exponents.
fn best_law(points: &[SizedLoss], center: f64) -> SizeLaw {
    let (from, to) = (EXPONENTS.0.ln(), EXPONENTS.1.ln());
    let logs: Vec<f64> = points.iter().map(|point| (point.n_parameters / center).ln()).collect();
    let at = |u: f64| line(points, &logs, -u.exp());
    let step = (to - from) / (GRID - 1) as f64;
    let squares: Vec<f64> = (0..GRID).map(|index| at(from + step * index as f64).2).collect();
    let best = (0..GRID).min_by(|&i, &j| squares[i].total_cmp(&squares[j])).expect("the grid is not empty");
    let middle = from + step * best as f64;
    let u = golden_section((middle - step).max(from), (middle + step).min(to), |u| at(u).2);
    let (a, c, squares) = at(u);
    let b = -u.exp();
    SizeLaw { a: a * center.powf(-b), b, c, squares, points: points.to_vec() }
}

/// a, c and the sum of squares of the best a exp(b x) + c with a >= 0 and c >= 0, for logarithms `logs` of the sizes.
fn line(points: &[SizedLoss], logs: &[f64], b: f64) -> (f64, f64, f64) {
    let n = points.len() as f64;
    let powers = || logs.iter().map(|log| (b * log).exp());
    let losses = || points.iter().map(|point| point.loss);
    let (mean_power, mean_loss) = (powers().sum::<f64>() / n, losses().sum::<f64>() / n);
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (power, loss) in powers().zip(losses()) {
        covariance += (power - mean_power) * (loss - mean_loss);
        variance += (power - mean_power).powi(2);
    }
    let mut a = if variance > 0.0 { covariance / variance } else { 0.0 };
    let mut c = mean_loss - a * mean_power;
    if a < 0.0 {
        (a, c) = (0.0, mean_loss);
    } else if c < 0.0 {
        let (products, squares) = powers().zip(losses()).fold((0.0, 0.0), |(xy, xx), (x, y)| (xy + x * y, xx + x * x));
        (a, c) = (products / squares, 0.0);
    }
    let squares = powers().zip(losses()).map(|(power, loss)| (loss - a * power - c).powi(2)).sum();
    (a, c, squares)
}

/// Where a function with one valley between `low` and `high` is least (Kiefer 1953).
fn golden_section(mut low: f64, mut high: f64, value: impl Fn(f64) -> f64) -> f64 {
    let share = 0.5 * (5.0_f64.sqrt() - 1.0);
    let (mut left, mut right) = (high - share * (high - low), low + share * (high - low));
    let (mut at_left, mut at_right) = (value(left), value(right));
    for _ in 0..60 {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - share * (high - low);
            at_left = value(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + share * (high - low);
            at_right = value(right);
        }
    }
    0.5 * (low + high)
}

/// t with P(|T| <= t) = `confidence` for Student's distribution with `n_free` >= 1 degrees of freedom.
fn student_quantile(confidence: f64, n_free: usize) -> f64 {
    assert!((0.0..1.0).contains(&confidence), "a confidence of {confidence} has no quantile");
    // In the angle the search is over a bounded range.
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if student_share(middle, n_free) < confidence {
            low = middle;
        } else {
            high = middle;
        }
    }
    (n_free as f64).sqrt() * low.tan()
}

/// P(|T| <= t) with t = sqrt(n_free) tan(angle), by the finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4.
fn student_share(angle: f64, n_free: usize) -> f64 {
    let (sine, cosine) = angle.sin_cos();
    let is_odd = n_free % 2 == 1;
    let mut term = if is_odd { cosine } else { 1.0 };
    let mut sum = if n_free == 1 { 0.0 } else { term };
    // Each term has the factor k / (k + 1) of the one before: 2/3, 4/5, ... for odd, 1/2, 3/4, ... for even n_free.
    let first = if is_odd { 2 } else { 1 };
    for k in (first..n_free.saturating_sub(2)).step_by(2) {
        term *= k as f64 / (k + 1) as f64 * cosine * cosine;
        sum += term;
    }
    if is_odd { (angle + sine * sum) * std::f64::consts::FRAC_2_PI } else { sine * sum }
}

#[cfg(test)]
mod tests;
