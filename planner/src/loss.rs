//! The loss that a schedule is predicted to end at: for ranking schedules, not for promising a number.
//!
//! `L(N, D) = E + A / N^alpha + B / D^beta` (Hoffmann et al., arXiv 2203.15556, approach 3) with the constants of Besiroglu et al.
//! (arXiv 2404.10102), who fitted the same data again and found the first fit not converged. It was fitted on English text with another
//! tokenizer, so its absolute values are not those of our runs.
//!
//! The law knows models trained from scratch. A stage that grows from N1 to N2 parameters is taken to go on as a model of N2 that was
//! trained from scratch until it had the same loss: growing preserves the loss, and is assumed to preserve what training does from
//! there on (the two properties that Shen et al., arXiv 2203.06211, ask of a growth operator). So at equal tokens growth never beats
//! training from scratch; it may at equal FLOPs. How far real operators fall short of that is what `cargo xtask study growth` measures.

use serde::Serialize;

/// The constants of a law of loss over parameters and tokens, in nats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LossLaw {
    /// What no model can go below.
    pub irreducible: f64,
    /// A.
    pub parameter_factor: f64,
    /// alpha.
    pub parameter_exponent: f64,
    /// B.
    pub token_factor: f64,
    /// beta.
    pub token_exponent: f64,
}

/// Besiroglu et al., arXiv 2404.10102.
pub const CHINCHILLA: LossLaw = LossLaw {
    irreducible: 1.8172,
    parameter_factor: 482.01,
    parameter_exponent: 0.3478,
    token_factor: 2085.43,
    token_exponent: 0.3658,
};

impl LossLaw {
    /// Loss of a model from scratch.
    pub fn loss(&self, n_parameters: f64, n_tokens: f64) -> f64 {
        self.limit(n_parameters) + self.token_factor * n_tokens.powf(-self.token_exponent)
    }

    /// Loss after any number of tokens.
    fn limit(&self, n_parameters: f64) -> f64 {
        self.irreducible + self.parameter_factor * n_parameters.powf(-self.parameter_exponent)
    }

    /// Tokens after which a model from scratch has that loss.
    fn tokens_at(&self, n_parameters: f64, loss: f64) -> f64 {
        ((loss - self.limit(n_parameters)) / self.token_factor).powf(-1.0 / self.token_exponent)
    }

    /// Loss at the end of stages given as parameters and tokens, each at least as large as the one before.
    pub fn of_stages(&self, stages: impl IntoIterator<Item = (f64, f64)>) -> f64 {
        let mut loss = f64::INFINITY;
        for (n_parameters, n_tokens) in stages {
            let before = if loss.is_finite() { self.tokens_at(n_parameters, loss) } else { 0.0 };
            loss = self.loss(n_parameters, before + n_tokens);
        }
        loss
    }
}
