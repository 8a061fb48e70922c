//! Where to compute: the CPU, or one GPU through CUDA.
//!
//! The device is no setting of a run: it changes results only as another processor does, by rounding, and a run may go on
//! somewhere else than where it began. `metrics.jsonl` says where each part of it was computed.

use tch::{Cuda, Device};
use thiserror::Error;
use torch_ext::{TorchError, load_cuda};

/// There is no GPU to compute on.
#[derive(Debug, Error)]
pub enum NoCuda {
    /// This libtorch is that of a CPU, or lacks a library of CUDA.
    #[error(
        "libtorch's CUDA half cannot be loaded: this build needs the lib folder of a libtorch for CUDA in LD_LIBRARY_PATH"
    )]
    Library(#[from] TorchError),
    /// The library is there, and sees nothing.
    #[error("libtorch sees no GPU here: is the driver loaded, and CUDA_VISIBLE_DEVICES not empty?")]
    Device,
}

/// The first GPU that CUDA shows. To be called before anything else of libtorch.
pub fn cuda_device() -> Result<Device, NoCuda> {
    load_cuda()?;
    if !Cuda::is_available() {
        return Err(NoCuda::Device);
    }
    Ok(Device::Cuda(0))
}

/// Its name in `metrics.jsonl`.
pub(crate) fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Workers that can compute side by side: threads on the CPU, one stream of work on a GPU.
pub(crate) fn n_workers(device: Device, n_threads: usize) -> usize {
    if device == Device::Cpu { n_threads.max(1) } else { 1 }
}

/// Whether libtorch said, of the CPU or a GPU, that there is not enough memory.
pub fn is_out_of_memory(said: &str) -> bool {
    let of_libtorch =
        ["can't allocate memory", "not enough memory", "std::bad_alloc", "CUDA out of memory", "_ALLOC_FAILED"];
    of_libtorch.iter().any(|words| said.contains(words))
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;

    /// More than any machine can address.
    const TOO_MANY: [i64; 1] = [1 << 47];

    #[test]
    fn what_libtorch_says_of_memory_is_understood() {
        let error = Tensor::f_zeros(TOO_MANY, (Kind::Float, Device::Cpu)).unwrap_err();
        assert!(is_out_of_memory(&error.to_string()), "{error}");
        let panic = std::panic::catch_unwind(|| Tensor::zeros(TOO_MANY, (Kind::Float, Device::Cpu))).unwrap_err();
        assert!(is_out_of_memory(panic.downcast_ref::<String>().unwrap()));
        let error =
            Tensor::zeros([2], (Kind::Float, Device::Cpu)).f_matmul(&Tensor::zeros([3], (Kind::Float, Device::Cpu)));
        assert!(!is_out_of_memory(&error.unwrap_err().to_string()));
    }
}
