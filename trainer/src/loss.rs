//! From final hidden states to losses and gradients: only a few rows of logits are there at a time, and each process of a tensor group has those of
//! its own ids.

use tch::{Device, Kind, Tensor};
use torch_ext::TorchError;

use crate::gradients::BatchError;
use crate::model::{Model, sums};

/// Logits that are computed at a time take about so many bytes on the CPU: beyond the cache, passes over them wait for memory.
const LOGIT_BYTES: i64 = 8 << 20;

/// Rows of logits at a time: fewer make matrix products slow, more cost memory.
const LOGIT_ROWS_MIN: i64 = 256;
const LOGIT_ROWS_OF_GPU: i64 = 4096;

/// Losses `(n)` of `hidden` `(n, h)` for `targets` `(n)`. With a factor and a place `(v, h)` also the gradient of `hidden` for the sum of all losses
/// times the factor, and in that place the embedding's; v counts this process's ids. Only a few rows of `logits` are there at a time.
pub(crate) fn chunked_loss(
    model: &Model,
    hidden: &Tensor,
    targets: &Tensor,
    mut with_gradients: Option<(f64, &mut Tensor)>,
    logits: &mut Option<Tensor>,
) -> Result<(Tensor, Option<Tensor>), BatchError> {
    let embedding = model.embedding();
    let all_logits = logits.get_or_insert_with(|| room_for_logits(embedding));
    let n = hidden.size()[0];
    let mut d_hidden = with_gradients.as_ref().map(|_| hidden.empty_like());
    if let (Some((_, d_embedding)), 0) = (&mut with_gradients, n) {
        let _ = d_embedding.zero_();
    }
    let n_at_once = all_logits.size()[0];
    let mut losses = vec![Tensor::zeros([0], (sums(hidden.kind()), hidden.device()))];
    for first in (0..n).step_by(n_at_once as usize) {
        let len = n_at_once.min(n - first);
        let (hidden, targets) = (hidden.narrow(0, first, len), targets.narrow(0, first, len));
        let mut logits = all_logits.narrow(0, 0, len);
        let _ = hidden.f_matmul_out(&logits, &embedding.tr())?;
        let scale = with_gradients.as_ref().map_or(0.0, |(scale, _)| *scale);
        losses.push(match model.parallel().tensor.is_alone() {
            true => torch_ext::cross_entropy(&mut logits, &targets, scale)?,
            false => shared_cross_entropy(model, &mut logits, &targets, scale)?,
        });
        let (Some(d_hidden), Some((_, d_embedding))) = (&d_hidden, &mut with_gradients) else { continue };
        let _ = logits.f_matmul_out(&d_hidden.narrow(0, first, len), embedding)?;
        torch_ext::add_transposed_product(d_embedding, &logits, &hidden, first == 0)?;
    }
    if let Some(d_hidden) = &mut d_hidden {
        model.parallel().tensor.sum(d_hidden)?;
    }
    Ok((Tensor::f_cat(&losses, 0)?, d_hidden))
}

/// Memory for the logits that are computed at a time, `(rows, v)`.
fn room_for_logits(embedding: &Tensor) -> Tensor {
    let (kind, device, n_ids) = (embedding.kind(), embedding.device(), embedding.size()[0]);
    let n_rows = LOGIT_BYTES / (n_ids * kind.elt_size_in_bytes() as i64);
    let n_rows = if device == Device::Cpu { n_rows.max(LOGIT_ROWS_MIN) } else { LOGIT_ROWS_OF_GPU };
    Tensor::empty([n_rows, n_ids], (kind, device))
}

/// What [`torch_ext::cross_entropy`] does, of logits `(n, v)` that are those of this process's ids: the largest logit, the sum of exponentials and
/// the target's logit are found together (Megatron-LM, section 3). The loss of a target that nobody has is NaN.
fn shared_cross_entropy(
    model: &Model,
    logits: &mut Tensor,
    targets: &Tensor,
    scale: f64,
) -> Result<Tensor, TorchError> {
    let (group, ids) = (&model.parallel().tensor, model.ids());
    let x = logits.to_kind(sums(logits.kind()));
    let mut largest = x.amax([-1_i64], true);
    group.max(&mut largest)?;
    let shifted = x - largest;
    let exponentials = shifted.exp();
    let mut total = exponentials.sum_dim_intlist(-1, true, None::<Kind>);
    group.sum(&mut total)?;
    let (own, places) = own_places(targets, &ids);
    let (own, places) = (own.to_kind(shifted.kind()).unsqueeze(1), places.unsqueeze(1));
    let mut of_target = Tensor::cat(&[shifted.gather(1, &places, false) * &own, own.shallow_clone()], 1);
    group.sum(&mut of_target)?;
    if scale != 0.0 {
        let gradients = (exponentials / &total).scatter_add(1, &places, &-own) * scale;
        logits.copy_(&gradients);
    }
    let losses = total.log().squeeze_dim(1) - of_target.select(1, 0);
    Ok(losses.masked_fill(&of_target.select(1, 1).eq(0.0), f64::NAN))
}

/// Of ids `(n)`, which are of that range, and where in it; somewhere, where they are not.
pub(crate) fn own_places(ids: &Tensor, range: &std::ops::Range<i64>) -> (Tensor, Tensor) {
    let own = ids.ge(range.start).logical_and(&ids.lt(range.end));
    (own, (ids - range.start).clamp(0, (range.end - range.start - 1).max(0)))
}
