//! Masks of a growing model: everything that a growth step added is multiplied by c, which rises from 0 to 1 (masked structural growth, Yao et
//! al., arXiv 2305.02869). With c = 0 it changes nothing, whatever its weights.
//!
//! A mask multiplies what a unit says, and that is the same as multiplying the row of weights and the bias that say it. So a masked model is a
//! plain one over masked weights, and gradients of the weights are those of the masked ones times the mask. Only LayerNorm needs to
//! know more: how much each coordinate counts in mean and variance.

use planner::{Depth, Shape};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::parameters::{Axis, BLOCK_TENSORS, OUTER_TENSORS, Role, parameter_specs};

/// The masks of a model that has grown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Masks {
    /// Shape before growth.
    pub from: Shape,
    /// Where its blocks are among the new ones.
    pub depth: Depth,
    /// c, the mask of everything new.
    pub value: f64,
}

impl Masks {
    /// 1 for old coordinates of the residual stream, c for new ones: `(h)`.
    pub(crate) fn stream(&self, new: &Shape) -> Tensor {
        self.axis(Axis::Hidden, new)
    }

    fn axis(&self, axis: Axis, new: &Shape) -> Tensor {
        let (old, new) = (axis.len(&self.from), axis.len(new));
        let of = |len, value| Tensor::full([len], value, (Kind::Float, Device::Cpu));
        Tensor::cat(&[of(old, 1.0), of(new - old, self.value)], 0)
    }

    /// For every tensor of [`parameter_specs`], the factors of its rows, shaped to be multiplied with it; `None` where nothing is masked. The
    /// embedding is not: what is read from it is.
    pub(crate) fn factors(&self, new: &Shape) -> Vec<Option<Tensor>> {
        let factor = |(index, spec): (usize, crate::ParameterSpec)| {
            let inner = index.checked_sub(OUTER_TENSORS);
            let block = inner.map(|inner| self.depth.source(inner / BLOCK_TENSORS, self.n_old(), new.layers as usize));
            let writes = matches!(spec.role, Role::ResidualMatrix | Role::ResidualBias);
            let of_block = if writes && block.is_some_and(|(_, is_new)| is_new) { self.value } else { 1.0 };
            let has_more = spec.axes[0].len(new) > spec.axes[0].len(&self.from);
            if !has_more && of_block == 1.0 {
                return None;
            }
            let rows = self.axis(spec.axes[0], new) * of_block;
            Some(if spec.axes.len() == 2 { rows.unsqueeze(1) } else { rows })
        };
        parameter_specs(new).into_iter().enumerate().map(factor).collect()
    }

    fn n_old(&self) -> usize {
        self.from.layers as usize
    }
}
