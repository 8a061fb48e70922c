//! Spikes: a loss or a gradient norm that does not follow from the steps before. Pure; numbers in, a verdict out.
//!
//! A value is a spike where it lies more than so many standard deviations above the mean of the last steps of the stage. A warm-up, a
//! mask ramp or a slow divergence does not trip it: on a straight line of any slope the next value lies at most about sqrt(3) standard
//! deviations above the mean of the window, since the window's own spread grows with the slope.

use std::fmt;

use planner::Stability;
use serde::{Deserialize, Serialize};

/// The smallest standard deviation, as a share of the mean: where a window hardly varies, every rounding would be a spike.
const DEVIATION_MIN: f64 = 0.01;

/// Losses and gradient norms of the last steps of this stage that were trained on, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    losses: Vec<f64>,
    norms: Vec<f64>,
}

/// A step that is not trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// The step.
    pub step: u64,
    /// Why.
    pub why: String,
}

/// Why a step must not be trained on.
#[derive(Clone, Debug, PartialEq)]
pub enum Spike {
    /// There is no number to go by.
    NotFinite {
        /// Loss.
        loss: f64,
        /// Gradient norm.
        norm: f64,
    },
    /// A number is far above those before.
    Above {
        /// Loss or gradient norm.
        what: &'static str,
        /// Its value.
        value: f64,
        /// How many standard deviations it lies above the mean.
        deviations: f64,
        /// The mean.
        mean: f64,
        /// Over so many steps.
        n_steps: usize,
    },
}

impl fmt::Display for Spike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite { loss, norm } => write!(f, "loss {loss} and gradient norm {norm} are not both finite"),
            Self::Above { what, value, deviations, mean, n_steps } => write!(
                f,
                "the {what} {value:.4} lies {deviations:.1} standard deviations above the mean {mean:.4} of the last {n_steps} steps"
            ),
        }
    }
}

impl Window {
    /// Whether the next step's `loss` or gradient `norm` is a spike.
    pub fn judge(&self, settings: &Stability, loss: f64, norm: f64) -> Option<Spike> {
        if !loss.is_finite() || !norm.is_finite() {
            return Some(Spike::NotFinite { loss, norm });
        }
        if self.losses.len() < settings.window.div_ceil(2).max(2) {
            return None;
        }
        let values = [
            ("loss", &self.losses, loss, settings.loss_sigma),
            ("gradient norm", &self.norms, norm, settings.norm_sigma),
        ];
        values.into_iter().find_map(|(what, before, value, sigma)| {
            let (mean, deviation) = mean_and_deviation(before);
            let deviations = (value - mean) / deviation.max(DEVIATION_MIN * mean.abs()).max(f64::MIN_POSITIVE);
            let n_steps = before.len();
            (deviations > sigma).then_some(Spike::Above { what, value, deviations, mean, n_steps })
        })
    }

    /// Takes in a step that was trained on; the oldest one goes where there are more than the window holds.
    pub fn push(&mut self, settings: &Stability, loss: f64, norm: f64) {
        for (values, value) in [(&mut self.losses, loss), (&mut self.norms, norm)] {
            values.push(value);
            let n_too_many = values.len().saturating_sub(settings.window);
            values.drain(..n_too_many);
        }
    }
}

/// How many steps up to `step` were passed over without one between them that was trained on. `skipped` rises.
pub(crate) fn skips_in_a_row(skipped: &[Skipped], step: u64) -> u64 {
    let until = skipped.iter().rev().skip_while(|skipped| skipped.step > step);
    until.zip((0..=step).rev()).take_while(|(skipped, step)| skipped.step == *step).count() as u64
}

/// Mean and standard deviation of a sample of at least two.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use planner::SpikePolicy;
    use proptest::prelude::*;

    use super::*;

    fn settings(window: usize) -> Stability {
        let policy = SpikePolicy::Skip;
        Stability { window, loss_sigma: 6.0, norm_sigma: 6.0, policy, skips_max: 8, step_seconds_max: 600.0 }
    }

    /// A window after `losses`, all of which were trained on.
    fn after(settings: &Stability, losses: impl IntoIterator<Item = f64>) -> Window {
        let mut window = Window::default();
        losses.into_iter().for_each(|loss| window.push(settings, loss, 1.0));
        window
    }

    proptest! {
        /// Warm-up, mask ramps and slow drifts: no straight line trips it, whatever its slope and wherever it begins.
        #[test]
        fn no_straight_line_is_a_spike(window in 4_usize..200, start in -10.0_f64..10.0, slope in -1.0_f64..1.0, n in 1_usize..400) {
            let settings = settings(window);
            let line = |step: usize| start + slope * step as f64;
            prop_assert_eq!(after(&settings, (0..n).map(line)).judge(&settings, line(n), 1.0), None);
        }

        /// Against the definition, computed from all values that were pushed.
        #[test]
        fn a_spike_is_what_the_definition_says(
            window in 4_usize..40,
            losses in prop::collection::vec(1.0_f64..3.0, 0..100),
            next in 1.0_f64..12.0,
        ) {
            let settings = settings(window);
            let found = after(&settings, losses.iter().copied()).judge(&settings, next, 1.0);
            let last = &losses[losses.len().saturating_sub(window)..];
            let mean = last.iter().sum::<f64>() / last.len() as f64;
            let variance = last.iter().map(|loss| (loss - mean) * (loss - mean)).sum::<f64>() / (last.len() as f64 - 1.0);
            let limit = mean + 6.0 * variance.sqrt().max(0.01 * mean);
            // At the very limit rounding decides.
            prop_assume!((next - limit).abs() > 1e-9 || limit.is_nan());
            prop_assert_eq!(found.is_some(), 2 * last.len() >= window && next > limit);
        }

        #[test]
        fn what_is_no_number_is_always_one(losses in prop::collection::vec(1.0_f64..3.0, 0..9)) {
            let settings = settings(128);
            let window = after(&settings, losses);
            for (loss, norm) in [(f64::NAN, 1.0), (1.0, f64::INFINITY), (f64::NEG_INFINITY, f64::NAN)] {
                let is_found = matches!(window.judge(&settings, loss, norm), Some(Spike::NotFinite { .. }));
                prop_assert!(is_found);
            }
        }

        /// State goes to disk as JSON and must come back to the last bit.
        #[test]
        fn a_window_comes_back_from_json(losses in prop::collection::vec(any::<f64>().prop_filter("finite", |x| x.is_finite()), 0..9)) {
            let window = after(&settings(128), losses);
            let json = serde_json::to_string(&window).unwrap();
            prop_assert_eq!(serde_json::from_str::<Window>(&json).unwrap(), window);
        }
    }

    #[test]
    fn norms_are_watched_too_and_the_words_say_what_was_found() {
        let settings = settings(8);
        let window = after(&settings, [2.0, 2.1, 1.9, 2.0]);
        let found = window.judge(&settings, 2.0, 1.2).unwrap().to_string();
        assert_eq!(
            found,
            "the gradient norm 1.2000 lies 20.0 standard deviations above the mean 1.0000 of the last 4 steps"
        );
    }

    #[test]
    fn skips_in_a_row_end_at_the_first_gap() {
        let skipped = |steps: &[u64]| -> Vec<Skipped> {
            steps.iter().map(|&step| Skipped { step, why: String::new() }).collect()
        };
        for (steps, step, expected) in
            [(&[][..], 5, 0), (&[5], 5, 1), (&[4, 5], 5, 2), (&[3, 5], 5, 1), (&[4, 5, 6, 9], 5, 2), (&[3, 4], 5, 0)]
        {
            assert_eq!(skips_in_a_row(&skipped(steps), step), expected, "{steps:?}");
        }
    }
}
