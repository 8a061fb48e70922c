//! AdamW over state that we own: it can be checkpointed, and it can grow.

use planner::{MuP, OptimizerSettings, Shape};
use tch::Tensor;
use torch_ext::{AdamW, Moments, TorchError, adamw_step};

use crate::parameters::{Role, parameter_specs};

/// Both Adam moments of every tensor, and the number of updates so far.
#[derive(Debug, Default)]
pub struct OptimizerState {
    /// Updates so far.
    pub step: u64,
    /// First moments, in the order of the tensors.
    pub first: Vec<Tensor>,
    /// Second moments.
    pub second: Vec<Tensor>,
}

impl OptimizerState {
    /// Zeros for every tensor.
    pub fn new(tensors: &[Tensor]) -> Self {
        let zeros = || tensors.iter().map(Tensor::zeros_like).collect();
        Self { step: 0, first: zeros(), second: zeros() }
    }
}

/// One update in place. `gradients` are scaled down where their `norm` is above the limit.
pub(crate) fn update(
    tensors: &[Tensor],
    gradients: &[Tensor],
    norm: f64,
    state: &mut OptimizerState,
    settings: &OptimizerSettings,
    (shape, mup, learning_rate): (&Shape, &MuP, f64),
) -> Result<(), TorchError> {
    let divisor = (norm / settings.clip).max(1.0);
    state.step += 1;
    let ratio = mup.width_ratio(shape);
    // Blocks are alike, so these are the roles of any part of them, too.
    let roles: Vec<Role> = parameter_specs(shape).into_iter().take(tensors.len()).map(|spec| spec.role).collect();
    for (group, learning_rate, weight_decay) in [
        (Group::Matrix, learning_rate / ratio, settings.weight_decay * ratio),
        (Group::Embedding, learning_rate, settings.weight_decay),
        (Group::Vector, learning_rate, 0.0),
    ] {
        let members: Vec<usize> = (0..roles.len()).filter(|&index| Group::of(roles[index]) == group).collect();
        let moments: Vec<Moments> = members
            .iter()
            .map(|&index| Moments {
                first: state.first[index].shallow_clone(),
                second: state.second[index].shallow_clone(),
            })
            .collect();
        let parameters: Vec<&Tensor> = members.iter().map(|&index| &tensors[index]).collect();
        let gradients: Vec<&Tensor> = members.iter().map(|&index| &gradients[index]).collect();
        let OptimizerSettings { beta1, beta2, epsilon, .. } = *settings;
        let step = AdamW { learning_rate, beta1, beta2, weight_decay, epsilon, step: state.step, divisor };
        adamw_step(&parameters, &gradients, &moments.iter().collect::<Vec<_>>(), &step)?;
    }
    Ok(())
}

/// Tensors that muP scales alike.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Matrix,
    Embedding,
    Vector,
}

impl Group {
    fn of(role: Role) -> Self {
        match role {
            Role::Matrix | Role::ResidualMatrix => Self::Matrix,
            Role::Embedding => Self::Embedding,
            Role::Gain | Role::Bias | Role::ResidualBias | Role::FinalGain | Role::FinalBias => Self::Vector,
        }
    }
}
