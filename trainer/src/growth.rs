//! Growth: a small model becomes a larger one that computes the same function.
//!
//! Masked structural growth (Yao et al., arXiv 2305.02869) on width, heads, feed-forward units and depth at once. Old weights
//! keep the top-left corner of every tensor; the rest starts like a new model and is masked. New blocks are copies of the old
//! stack, laid on top. Both Adam moments grow by the same rule, with zeros in the new places.
//!
//! muP divides the logits by the width, and with tied embeddings only the final LayerNorm can make up for it: its gain and
//! bias are multiplied by h2 / h1, and their moments divided by it once and twice, as a change of variable asks.

use corpus::Seed;
use planner::{MuP, Shape};
use tch::Tensor;

use crate::optimizer::OptimizerState;
use crate::parameters::{BLOCK_TENSORS, OUTER_TENSORS, Role, initial_tensor, parameter_specs};

/// Grows weights and moments from shape `old` to shape `new`; both moments may be absent (for a model without optimizer).
///
/// # Panics
/// Where the shape shrinks on some axis: `planner::plan` refuses that.
pub fn grow(
    tensors: &[Tensor],
    state: &OptimizerState,
    (old, new): (&Shape, &Shape),
    mup: &MuP,
    seed: &Seed,
) -> (Vec<Tensor>, OptimizerState) {
    assert_eq!(new.shrinks_from(old), None, "a model can only grow");
    let (mut grown, mut grown_state) = (Vec::new(), OptimizerState::default());
    grown_state.step = state.step;
    for (index, spec) in parameter_specs(new).iter().enumerate() {
        let (source, is_copy) = source_tensor(index, old, new);
        let scale = match spec.role {
            Role::FinalGain | Role::FinalBias => new.hidden as f64 / old.hidden as f64,
            _ => 1.0,
        };
        let small = &tensors[source];
        let fresh = (initial_tensor(spec, new, mup, seed) * scale).to_kind(small.kind()).to_device(small.device());
        grown.push(pasted(small, fresh, scale));
        let zeros = |moment: &Tensor| Tensor::zeros(spec.size(new), (moment.kind(), moment.device()));
        for (moments, grown_moments, power) in
            [(&state.first, &mut grown_state.first, 1), (&state.second, &mut grown_state.second, 2)]
        {
            let moment = &moments[source];
            let fresh = zeros(moment);
            grown_moments.push(if is_copy { fresh } else { pasted(moment, fresh, scale.powi(-power)) });
        }
    }
    (grown, grown_state)
}

/// `small * scale` in the top-left corner of `large`.
fn pasted(small: &Tensor, large: Tensor, scale: f64) -> Tensor {
    tch::no_grad(|| {
        let mut corner = large.shallow_clone();
        for (axis, len) in small.size().into_iter().enumerate() {
            corner = corner.narrow(axis as i64, 0, len);
        }
        corner.copy_(&(small * scale));
    });
    large
}

/// The old tensor that the new tensor `index` starts from, and whether it belongs to a copied block.
fn source_tensor(index: usize, old: &Shape, new: &Shape) -> (usize, bool) {
    let Some(inner) = index.checked_sub(OUTER_TENSORS) else { return (index, false) };
    let (block, tensor) = (inner / BLOCK_TENSORS, inner % BLOCK_TENSORS);
    let source = source_block(block, old.layers as usize, new.layers as usize);
    (OUTER_TENSORS + source * BLOCK_TENSORS + tensor, block >= old.layers as usize)
}

/// The old block that new block `block` copies: whole copies of the stack first, the remainder from its top (MSG).
fn source_block(block: usize, n_old: usize, n_new: usize) -> usize {
    let Some(added) = block.checked_sub(n_old) else { return block };
    let n_added = n_new - n_old;
    let n_whole = n_added / n_old * n_old;
    if added < n_whole { added % n_old } else { n_old - (n_added - added) }
}

#[cfg(test)]
mod tests {
    use super::source_block;

    #[test]
    fn new_blocks_stack_whole_copies_then_the_top() {
        let sources = |old, new| (0..new).map(|block| source_block(block, old, new)).collect::<Vec<_>>();
        assert_eq!(sources(4, 5), [0, 1, 2, 3, 3]);
        assert_eq!(sources(2, 5), [0, 1, 0, 1, 1]);
        assert_eq!(sources(3, 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(sources(3, 5), [0, 1, 2, 1, 2]);
    }
}
