//! The learning rate over a stage, counted in tokens: what a step trains on may change, the curve does not.

use serde::{Deserialize, Serialize};

/// The learning rate of one stage. A step has the rate at its own end, so that the first one is above 0 and the last one has `end`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schedule", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LearningRate {
    /// Linear warm-up, then half a cosine down to `end` at the end of the stage (Loshchilov and Hutter, arXiv 1608.03983).
    Cosine {
        /// Highest value, reached at the end of the warm-up.
        peak: f64,
        /// Value at the end of the stage.
        end: f64,
        /// Tokens of linear warm-up.
        warmup_tokens: u64,
    },
    /// Linear warm-up, a plateau, and a decay at the stage's end (Hu et al., MiniCPM, arXiv 2404.06395). A stage may be made longer
    /// without changing what came before its decay. The decay is 1 - sqrt(x), which ended lower than a linear one in Hägele et al.,
    /// arXiv 2405.18392, section 3.
    WarmupStableDecay {
        /// The plateau, reached at the end of the warm-up.
        peak: f64,
        /// Value at the end of the stage.
        end: f64,
        /// Tokens of linear warm-up.
        warmup_tokens: u64,
        /// Tokens of the decay.
        decay_tokens: u64,
    },
}

/// The learning rate of a stage as a part of a curve, which may have begun in a stage before it and may go on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// The whole curve.
    pub rate: LearningRate,
    /// Its tokens before this stage.
    pub tokens_before: u64,
    /// Its tokens.
    pub tokens: u64,
}

impl LearningRate {
    /// The rate of the step that brings the stage to `tokens_after` of its `stage_tokens`.
    pub fn at(&self, tokens_after: u64, stage_tokens: u64) -> f64 {
        let (peak, end, warmup_tokens) = (self.peak(), self.end(), self.warmup_tokens());
        if tokens_after < warmup_tokens {
            return peak * tokens_after as f64 / warmup_tokens as f64;
        }
        // Share of the way from peak to end: 0 at the start of the descent, 1 at the end of the stage.
        let descent = |from: u64| {
            let length = stage_tokens.saturating_sub(from).max(1);
            (tokens_after.saturating_sub(from) as f64 / length as f64).min(1.0)
        };
        let height = match *self {
            Self::Cosine { .. } => 0.5 * (1.0 + (std::f64::consts::PI * descent(warmup_tokens)).cos()),
            Self::WarmupStableDecay { decay_tokens, .. } => {
                1.0 - descent(stage_tokens.saturating_sub(decay_tokens)).sqrt()
            }
        };
        // Written so that it is exactly `peak` at the top and exactly `end` at the end.
        peak * height + end * (1.0 - height)
    }

    /// Highest value.
    pub fn peak(&self) -> f64 {
        let (Self::Cosine { peak, .. } | Self::WarmupStableDecay { peak, .. }) = *self;
        peak
    }

    /// Value at the end of the stage.
    pub fn end(&self) -> f64 {
        let (Self::Cosine { end, .. } | Self::WarmupStableDecay { end, .. }) = *self;
        end
    }

    /// Tokens of linear warm-up.
    pub fn warmup_tokens(&self) -> u64 {
        let (Self::Cosine { warmup_tokens, .. } | Self::WarmupStableDecay { warmup_tokens, .. }) = *self;
        warmup_tokens
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A schedule and the length of its stage, which it fits into.
    fn schedules() -> impl Strategy<Value = (LearningRate, u64)> {
        let numbers = (1_u64..1_000_000, 0_u64..1_000_000, 1_u64..1_000_000, 1e-6_f64..1.0, 0.0_f64..=1.0);
        let schedule =
            |is_cosine: bool, (stable, warmup_tokens, decay_tokens, peak, share): (u64, u64, u64, f64, f64)| {
                let (end, length) = (peak * share, warmup_tokens + stable + decay_tokens);
                if is_cosine {
                    (LearningRate::Cosine { peak, end, warmup_tokens }, length)
                } else {
                    (LearningRate::WarmupStableDecay { peak, end, warmup_tokens, decay_tokens }, length)
                }
            };
        (any::<bool>(), numbers).prop_map(move |(is_cosine, numbers)| schedule(is_cosine, numbers))
    }

    proptest! {
        #[test]
        fn the_rate_stays_in_its_bounds_and_ends_where_it_should((rate, length) in schedules(), share in 0.0_f64..=1.0) {
            let at = |tokens| rate.at(tokens, length);
            let tokens = (share * length as f64) as u64;
            prop_assert!((0.0..=rate.peak() * (1.0 + 1e-12)).contains(&at(tokens)));
            prop_assert_eq!(at(rate.warmup_tokens()), rate.peak());
            prop_assert_eq!(at(length), rate.end());
            // It rises to the peak and never again.
            let next = at((tokens + 1).min(length));
            let rises = next > at(tokens) * (1.0 + 1e-12);
            prop_assert!(!rises || tokens < rate.warmup_tokens());
        }

        /// No jump anywhere, the borders between its parts included: a thousandth of a part moves the rate by little.
        #[test]
        fn the_rate_is_continuous((rate, length) in schedules()) {
            let mut borders = vec![rate.warmup_tokens(), length];
            let mut shortest = rate.warmup_tokens().max(1).min(length - rate.warmup_tokens());
            if let LearningRate::WarmupStableDecay { decay_tokens, .. } = rate {
                borders.push(length - decay_tokens);
                shortest = shortest.min(decay_tokens);
            }
            prop_assume!(shortest >= 1000);
            for border in borders {
                let near = [border.saturating_sub(1), border, (border + 1).min(length)].map(|tokens| rate.at(tokens, length));
                // The steepest place is the beginning of 1 - sqrt(x): one token of at least a thousand is a step of sqrt(1/1000).
                let furthest = (near[0] - near[1]).abs().max((near[1] - near[2]).abs());
                prop_assert!(furthest <= 0.032 * rate.peak(), "{:?} at {}", near, border);
            }
        }
    }

    /// Points that can be computed by hand.
    #[test]
    fn known_points() {
        let cosine = LearningRate::Cosine { peak: 1.0, end: 0.1, warmup_tokens: 100 };
        assert_eq!((cosine.at(50, 1000), cosine.at(100, 1000)), (0.5, 1.0));
        assert!((cosine.at(550, 1000) - 0.55).abs() < 1e-12);
        let stable = LearningRate::WarmupStableDecay { peak: 1.0, end: 0.2, warmup_tokens: 100, decay_tokens: 400 };
        assert_eq!([50, 100, 300, 600, 1000].map(|tokens| stable.at(tokens, 1000)), [0.5, 1.0, 1.0, 1.0, 0.2]);
        assert!((stable.at(700, 1000) - 0.6).abs() < 1e-12);
        // A longer stage has the same plateau.
        assert_eq!(stable.at(550, 1000), stable.at(550, 9000));
    }
}
