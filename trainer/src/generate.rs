//! Text from a model, token by token, with the keys and values of what it has seen.

use corpus::Seed;
use tch::{Kind, Tensor};

use crate::model::{Cache, Model};

/// How to draw the next token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 takes the most likely token.
    pub temperature: f64,
    /// Only this many of the most likely tokens are drawn from.
    pub top_k: usize,
    /// Tokens to generate at most.
    pub n_tokens: usize,
}

/// Continues `prompt` until `stop` or the limit, and hands over each token as soon as it is drawn, which may end it too (`false`). The model
/// sees at most `context` tokens: where there are more, the older half of the context is forgotten. The result is a function of weights, prompt
/// and seed: libtorch computes on this thread alone, since its number of threads changes the order of sums.
///
/// # Panics
/// Where the prompt is empty.
pub fn generate_each(
    model: &Model,
    prompt: &[u32],
    stop: u32,
    sampling: &Sampling,
    seed: &Seed,
    take: &mut dyn FnMut(u32) -> bool,
) {
    assert!(!prompt.is_empty(), "a continuation needs something to continue");
    tch::set_num_threads(1);
    let context = model.shape().context as usize;
    let mut tokens = prompt.to_vec();
    let mut cache = model.cache();
    for index in 0..sampling.n_tokens {
        let unseen = if cache.n_positions() == 0 || cache.n_positions() == context {
            let n_kept = if cache.n_positions() == 0 { tokens.len().min(context) } else { context / 2 + 1 };
            cache = model.cache();
            &tokens[tokens.len() - n_kept..]
        } else {
            &tokens[tokens.len() - 1..]
        };
        let logits = next_logits(model, unseen, &mut cache);
        let point = seed.below(index as u64, 1 << 53) as f64 / (1_u64 << 53) as f64;
        let next = draw(&logits, sampling, point);
        if next == stop || !take(next) {
            break;
        }
        tokens.push(next);
    }
}

/// What [`generate_each`] hands over, together; without the prompt.
pub fn generate(model: &Model, prompt: &[u32], stop: u32, sampling: &Sampling, seed: &Seed) -> Vec<u32> {
    let mut tokens = Vec::new();
    generate_each(model, prompt, stop, sampling, seed, &mut |token| {
        tokens.push(token);
        true
    });
    tokens
}

fn next_logits(model: &Model, unseen: &[u32], cache: &mut Cache) -> Vec<f32> {
    tch::no_grad(|| {
        let ids: Vec<i64> = unseen.iter().map(|&token| i64::from(token)).collect();
        let hidden = model.hidden_of_next(&row(&ids, model), cache).expect("a row of tokens");
        let last = hidden.narrow(0, ids.len() as i64 - 1, 1);
        Vec::try_from(model.logits(&last).view([-1]).to_kind(Kind::Float)).expect("logits are a float vector")
    })
}

/// A batch of one row, where the model computes.
fn row(ids: &[i64], model: &Model) -> Tensor {
    Tensor::from_slice(ids).unsqueeze(0).to_device(model.device())
}

/// The token at `point` (0..1) of the cumulative probability of the `top_k` most likely ones.
fn draw(logits: &[f32], sampling: &Sampling, point: f64) -> u32 {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    order.truncate(sampling.top_k.max(1));
    if sampling.temperature == 0.0 {
        return order[0] as u32;
    }
    let weight = |&id: &usize| (f64::from(logits[id] - logits[order[0]]) / sampling.temperature).exp();
    let mut rest = point * order.iter().map(weight).sum::<f64>();
    for id in &order {
        rest -= weight(id);
        if rest < 0.0 {
            return *id as u32;
        }
    }
    order[order.len() - 1] as u32
}

/// The most likely next token after every position of `tokens`, at most as many as the context.
pub fn most_likely(model: &Model, tokens: &[u32]) -> Vec<u32> {
    let ids: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
    let next = tch::no_grad(|| {
        let hidden = model.hidden(&row(&ids, model), None).expect("a row of tokens");
        model.logits(&hidden).argmax(-1, false).view([-1])
    });
    let next: Vec<i64> = Vec::try_from(next).expect("indices are an integer vector");
    next.into_iter().map(|id| id as u32).collect()
}
