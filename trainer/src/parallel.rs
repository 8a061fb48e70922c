//! How a model and its data are shared among processes: the groups that every layer is written against. A group of one, the default, changes
//! nothing and costs nothing.
//!
//! - The **tensor** group shares every block: heads, feed-forward units and ids of the vocabulary are cut among its members (Megatron-LM, Shoeybi et
//!   al., arXiv 1909.08053).
//! - The **pipeline** group shares the blocks, consecutive ones to each member. The first one embeds, the last one has the loss, and both hold the
//!   embedding, which is tied.
//! - The **data** group shares the rows of every batch.
//!
//! A tensor that a process holds no part of is there with no rows, so that all processes list the same tensors in front of their blocks.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use planner::Shape;
use tch::{Kind, Tensor};
use torch_ext::TorchError;

use crate::parameters::{Axis, BLOCK_TENSORS, OUTER_TENSORS, ParameterSpec, parameter_specs};

/// The groups that a process is a member of.
#[derive(Clone, Debug, Default)]
pub struct Parallel {
    /// Shares every block.
    pub tensor: Group,
    /// Shares the blocks.
    pub pipeline: Group,
    /// Shares the rows.
    pub data: Group,
}

/// How members of a group talk. Every member makes the same calls in the same order; each waits for the others, and fails where they do not
/// come. Sums add in the order of the ranks, so that all members have the same bits.
pub trait Members: Send + Sync {
    /// Makes `x` the sum of all members' tensors of that size.
    fn sum(&self, x: &mut Tensor) -> Result<(), TorchError>;
    /// Makes `x` the largest of all members' values, place by place.
    fn max(&self, x: &mut Tensor) -> Result<(), TorchError>;
    /// Gives a tensor to one other member.
    fn send(&self, to: usize, x: &Tensor) -> Result<(), TorchError>;
    /// Fills `x` with what that member sends.
    fn receive(&self, from: usize, x: &mut Tensor) -> Result<(), TorchError>;
}

/// Processes that compute together, and this one's number among them.
#[derive(Clone, Default)]
pub struct Group(Option<Membership>);

#[derive(Clone)]
struct Membership {
    rank: usize,
    size: usize,
    members: Arc<dyn Members>,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.rank(), self.size())
    }
}

impl Group {
    /// Member `rank` of `size`. One alone needs nobody to talk to.
    ///
    /// # Panics
    /// Where there is no such member.
    pub fn new(rank: usize, size: usize, members: Arc<dyn Members>) -> Self {
        assert!(rank < size, "a group of {size} has no member {rank}");
        Self((size > 1).then_some(Membership { rank, size, members }))
    }

    /// This process's number, from 0.
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |membership| membership.rank)
    }

    /// Members.
    pub fn size(&self) -> usize {
        self.0.as_ref().map_or(1, |membership| membership.size)
    }

    /// Whether there is nobody else.
    pub fn is_alone(&self) -> bool {
        self.0.is_none()
    }

    fn is_last(&self) -> bool {
        self.rank() + 1 == self.size()
    }

    /// In front of matrices that are cut by their outputs: the same value for all; its gradient is the sum of theirs (Megatron's f).
    pub(crate) fn enter(&self, x: Tensor) -> Result<Tensor, TorchError> {
        let Some(Membership { members, .. }) = &self.0 else { return Ok(x) };
        let members = Arc::clone(members);
        torch_ext::replaced(&x, &x.detach(), move |gradient| members.sum(gradient))
    }

    /// Behind matrices that are cut by their inputs: the sum over all; its gradient is the same for all (Megatron's g).
    pub(crate) fn leave(&self, x: Tensor) -> Result<Tensor, TorchError> {
        if self.is_alone() {
            return Ok(x);
        }
        let mut out = tch::no_grad(|| x.detach().copy());
        self.sum(&mut out)?;
        torch_ext::replaced(&x, &out, |_| Ok(()))
    }

    pub(crate) fn sum(&self, x: &mut Tensor) -> Result<(), TorchError> {
        self.0.as_ref().map_or(Ok(()), |membership| membership.members.sum(x))
    }

    pub(crate) fn max(&self, x: &mut Tensor) -> Result<(), TorchError> {
        self.0.as_ref().map_or(Ok(()), |membership| membership.members.max(x))
    }

    /// To the member `ahead` ranks further on, or back where it is negative.
    pub(crate) fn send(&self, ahead: isize, x: &Tensor) -> Result<(), TorchError> {
        let Membership { rank, members, .. } = self.membership();
        members.send(rank.strict_add_signed(ahead), x)
    }

    /// From the member `ahead` ranks further on.
    pub(crate) fn receive(&self, ahead: isize, x: &mut Tensor) -> Result<(), TorchError> {
        let Membership { rank, members, .. } = self.membership();
        members.receive(rank.strict_add_signed(ahead), x)
    }

    fn membership(&self) -> &Membership {
        self.0.as_ref().expect("only a group of several sends")
    }

    /// This member's part of `len` things that are cut evenly.
    fn part(&self, len: i64) -> Range<i64> {
        let of_each = len / self.size() as i64;
        let first = self.rank() as i64 * of_each;
        first..first + of_each
    }
}

impl Parallel {
    /// Whether this process computes every layer of a row by itself.
    pub(crate) fn has_whole_rows(&self) -> bool {
        self.tensor.is_alone() && self.pipeline.is_alone()
    }

    /// Whether this process embeds.
    pub(crate) fn is_first(&self) -> bool {
        self.pipeline.rank() == 0
    }

    /// Whether this process has the loss.
    pub(crate) fn is_last(&self) -> bool {
        self.pipeline.is_last()
    }

    /// Why a model of that shape cannot be cut so.
    pub(crate) fn objection(&self, shape: &Shape) -> Option<String> {
        let n = self.tensor.size() as u64;
        let Shape { heads, ffn, vocabulary, layers, .. } = *shape;
        let cut = [("heads", heads), ("feed-forward units", ffn), ("ids", vocabulary)];
        let uneven = cut.into_iter().find(|(_, count)| !count.is_multiple_of(n));
        let uneven = uneven.map(|(what, count)| format!("{count} {what} cannot be cut evenly among {n} processes"));
        let n_stages = self.pipeline.size() as u64;
        let too_few = layers < n_stages;
        uneven.or_else(|| too_few.then(|| format!("{layers} blocks are too few for {n_stages} pipeline stages")))
    }

    /// The blocks of this process.
    pub(crate) fn blocks(&self, shape: &Shape) -> Range<usize> {
        let border = |rank: usize| rank * shape.layers as usize / self.pipeline.size();
        border(self.pipeline.rank())..border(self.pipeline.rank() + 1)
    }

    /// Ids whose row of the embedding this process holds, where it holds any.
    pub(crate) fn ids(&self, shape: &Shape) -> Range<i64> {
        self.tensor.part(shape.vocabulary as i64)
    }

    /// What this process holds of every tensor of [`parameter_specs`], or of one factor for each of its rows: views.
    pub fn parts(&self, shape: &Shape, whole: &[Tensor]) -> Vec<Tensor> {
        let parts = self.specs(shape).map(|(index, spec)| self.part(&whole[index], index, &spec, shape));
        parts.collect()
    }

    /// The same where some are missing.
    pub(crate) fn parts_of_some(&self, shape: &Shape, whole: &[Option<Tensor>]) -> Vec<Option<Tensor>> {
        let part = |(index, spec): (usize, ParameterSpec)| {
            whole[index].as_ref().map(|tensor| self.part(tensor, index, &spec, shape))
        };
        self.specs(shape).map(part).collect()
    }

    /// Number among all tensors of the model, and description, of each that this process lists.
    pub(crate) fn specs(&self, shape: &Shape) -> impl Iterator<Item = (usize, ParameterSpec)> {
        let blocks = self.blocks(shape);
        let own = move |index: usize| match index.checked_sub(OUTER_TENSORS) {
            None => true,
            Some(inner) => blocks.contains(&(inner / BLOCK_TENSORS)),
        };
        parameter_specs(shape).into_iter().enumerate().filter(move |(index, _)| own(*index))
    }

    fn part(&self, tensor: &Tensor, index: usize, spec: &ParameterSpec, shape: &Shape) -> Tensor {
        let is_held = match index {
            0 => self.is_first() || self.is_last(),
            1..OUTER_TENSORS => self.is_last(),
            _ => true,
        };
        if !is_held {
            return tensor.narrow(0, 0, 0);
        }
        let mut part = tensor.shallow_clone();
        for (number, axis) in spec.axes.iter().enumerate().filter(|(_, axis)| is_cut(**axis)) {
            let len = axis.len(shape);
            // A factor for every row has one column.
            if part.size()[number] == len {
                let Range { start, end } = self.tensor.part(len);
                part = part.narrow(number as i64, start, end - start);
            }
        }
        part
    }

    /// Of the same value that several processes hold, one counts: whether it is this process's gradient of a tensor.
    fn counts(&self, index: usize, spec: &ParameterSpec) -> bool {
        let is_first_copy = index > 0 || self.is_first();
        is_first_copy && (self.tensor.rank() == 0 || spec.axes.iter().any(|axis| is_cut(*axis)))
    }

    /// The L2 norm of the whole model's gradient.
    pub(crate) fn norm(&self, shape: &Shape, gradients: &[Tensor]) -> Result<f64, TorchError> {
        let counted = self.specs(shape).zip(gradients).filter(|((index, spec), _)| self.counts(*index, spec));
        let counted: Vec<&Tensor> = counted.map(|(_, gradient)| gradient).collect();
        let own = torch_ext::total_norm(&counted)?;
        if self.has_whole_rows() {
            return Ok(own);
        }
        let mut squares = Tensor::from_slice(&[own * own]).to_device(gradients[0].device());
        self.tensor.sum(&mut squares)?;
        self.pipeline.sum(&mut squares)?;
        Ok(squares.double_value(&[0]).sqrt())
    }

    /// Makes the gradients of this process's rows and stage those of the batch.
    pub(crate) fn sum_gradients(&self, gradients: &mut [Tensor]) -> Result<(), TorchError> {
        for gradient in gradients.iter_mut() {
            self.data.sum(gradient)?;
        }
        self.sum_ends(&mut gradients[0])
    }

    /// Both ends of the pipeline hold the embedding: its gradient is the sum of what each has.
    fn sum_ends(&self, d_embedding: &mut Tensor) -> Result<(), TorchError> {
        if self.pipeline.is_alone() {
            return Ok(());
        }
        let way = self.pipeline.size() as isize - 1;
        if self.is_first() {
            let mut other = d_embedding.zeros_like();
            self.pipeline.receive(way, &mut other)?;
            let _ = d_embedding.g_add_(&other);
            self.pipeline.send(way, d_embedding)?;
        } else if self.is_last() {
            self.pipeline.send(-way, d_embedding)?;
            self.pipeline.receive(-way, d_embedding)?;
        }
        Ok(())
    }

    /// Sums of losses by group of text: those of all rows, known where only the last stage of each part of the data knew some.
    pub(crate) fn sum_losses(&self, sums: &mut [f64], device: tch::Device) -> Result<(), TorchError> {
        if self.pipeline.is_alone() && self.data.is_alone() {
            return Ok(());
        }
        let mut all = Tensor::from_slice(sums).to_device(device);
        self.pipeline.sum(&mut all)?;
        self.data.sum(&mut all)?;
        let all = all.to_kind(Kind::Double).to_device(tch::Device::Cpu);
        all.copy_data(sums, sums.len());
        Ok(())
    }
}

/// Whether the tensor group cuts it.
fn is_cut(axis: Axis) -> bool {
    match axis {
        Axis::Vocabulary | Axis::Heads | Axis::FeedForward => true,
        Axis::Hidden => false,
    }
}
