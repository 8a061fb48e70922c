//! Rows of the mapped files on their way to where the model computes.
//!
//! On the CPU that is no way at all: a tensor over the mapped memory. A GPU copies fastest, and without making the host wait,
//! from page-locked memory; mapped files are not, so rows are copied once more, into a pinned buffer, and the GPU is told to
//! fetch them from there when it comes to it. Batches are staged one ahead of the computation: two sets of buffers
//! are in use, which libtorch's allocator of pinned memory keeps and hands out in turn, each once the copies from it are done.
//!
//! Four bytes a token for rows and four a target: at 50 GB/s a batch of a million tokens takes 0.2 ms.

use std::sync::{Mutex, PoisonError};

use loader::RowBlock;
use tch::{Device, Kind, Tensor};
use torch_ext::{pinned_rows, rows_tensor};

use crate::gradients::BatchError;

/// The tokens of a micro-batch and the places of its targets, on the device of the model, or under way to it.
pub(crate) struct Inputs {
    /// Rows `(n_rows, length)` of int32.
    pub(crate) rows: Tensor,
    /// Indices into the grid of predictions, `(n_targets)` of int64.
    pub(crate) targets: Tensor,
    /// Which of its row's documents a position belongs to, `(n_rows, length - 1)` of int32; `None` where positions attend to all
    /// before them.
    pub(crate) documents: Option<Tensor>,
}

/// Inputs that one thread stages and another takes: tensors cannot be shared between threads, hence the lock.
pub(crate) struct Staged(Mutex<Inputs>);

impl Staged {
    /// Stages `blocks`, which are rows of `length` tokens, `targets`, indices into the grid of predictions, and the documents of all
    /// positions where they are told apart.
    pub(crate) fn new(
        blocks: &[RowBlock],
        length: usize,
        targets: &[i32],
        documents: Option<&[i32]>,
        device: Device,
    ) -> Result<Self, BatchError> {
        let mapped: Vec<Tensor> =
            blocks.iter().map(|block| rows_tensor(block.clone(), block.n_rows())).collect::<Result<_, _>>()?;
        let targets = Tensor::from_slice(targets);
        let documents = documents.map(|documents| Tensor::from_slice(documents).view([-1, length as i64 - 1]));
        if device == Device::Cpu {
            let rows = match &mapped[..] {
                [rows] => rows.shallow_clone(),
                several => Tensor::f_cat(several, 0)?,
            };
            return Ok(Self(Mutex::new(Inputs { rows, targets: targets.to_kind(Kind::Int64), documents })));
        }
        let rows = sent(&mapped, length, device)?;
        let n_targets = targets.numel();
        let targets = sent(&[targets.view([1, -1])], n_targets, device)?.view([-1]).to_kind(Kind::Int64);
        let documents = documents.map(|documents| sent(&[documents], length - 1, device)).transpose()?;
        Ok(Self(Mutex::new(Inputs { rows, targets, documents })))
    }

    /// What was staged.
    pub(crate) fn inputs(&self) -> Inputs {
        let Inputs { rows, targets, documents } = &*self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let documents = documents.as_ref().map(Tensor::shallow_clone);
        Inputs { rows: rows.shallow_clone(), targets: targets.shallow_clone(), documents }
    }
}

/// `parts` under each other on `device`. The copy is queued in front of all work that is queued for that device later.
fn sent(parts: &[Tensor], length: usize, device: Device) -> Result<Tensor, BatchError> {
    let n_rows = parts.iter().map(|part| part.size()[0]).sum::<i64>();
    let pinned = pinned_rows(n_rows as usize, length)?;
    let mut first = 0;
    for part in parts {
        let n_rows = part.size()[0];
        pinned.narrow(0, first, n_rows).f_copy_(part)?;
        first += n_rows;
    }
    Ok(pinned.f_to_device_(device, Kind::Int, true, false)?)
}
