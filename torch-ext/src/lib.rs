//! What libtorch has and tch does not bind, behind safe functions. The only C++ of the project lies in `csrc/`.
//!
//! - [`adamw_step`]: the fused AdamW update over tensors that the caller owns. (tch's own optimizer hides its moments, so they
//!   could be neither checkpointed nor grown.)
//! - [`norm`], [`attention`], [`feed_forward`], [`linear`], [`residual`], [`cross_entropy`]: a transformer block and its loss, each with its
//!   gradient, everything between two matrix products in one pass.
//! - [`add_transposed_product`]: the gradient of a matrix, summed in float32.
//! - [`gradients`]: the gradient of a part of a computation, given that of its output.
//! - [`replaced`]: a tensor that another one takes the place of, such as the sum over several processes.
//! - [`total_norm`]: the L2 norm of many tensors together, for gradient clipping.
//! - [`rows_tensor`]: token rows of a mapped file as an int32 tensor, without a copy.
//! - [`pinned_rows`]: host memory that a GPU copies from by itself.
//! - [`end_process`]: for a process that hangs inside libtorch.
//! - [`load_cuda`]: libtorch's CUDA half, which no linker keeps.

mod ffi;

pub use ffi::{
    AdamW, Moments, TorchError, adamw_step, add_transposed_product, attention, cross_entropy, end_process,
    feed_forward, gradients, linear, load_cuda, norm, pinned_rows, replaced, residual, rows_tensor, total_norm,
};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tch::{Cuda, Device, Kind, Tensor};

    use super::*;

    #[test]
    fn rows_are_not_copied_and_outlive_their_maker() {
        let owner = Arc::new(vec![1_u32, 2, 3, 4, 5, 6]);
        let pointer = owner.as_ptr() as usize;
        let rows = rows_tensor(Shared(owner.clone()), 2).unwrap();
        assert_eq!((rows.size(), rows.kind(), rows.data_ptr() as usize), (vec![2, 3], Kind::Int, pointer));
        let last = rows.get(1);
        drop(rows);
        assert_eq!((Vec::<i32>::try_from(&last).unwrap(), Arc::strong_count(&owner)), (vec![4, 5, 6], 2));
        drop(last);
        assert_eq!(Arc::strong_count(&owner), 1);
    }

    struct Shared(Arc<Vec<u32>>);

    impl AsRef<[u32]> for Shared {
        fn as_ref(&self) -> &[u32] {
            &self.0
        }
    }

    /// Against AdamW written out: decoupled decay, bias correction.
    #[test]
    fn adamw_is_adamw() {
        let (learning_rate, beta1, beta2, weight_decay, epsilon) = (0.1, 0.9, 0.95, 0.1, 1e-8);
        let parameter = Tensor::from_slice(&[1.0_f32, -2.0]);
        let (mut expected, mut m, mut v) = ([1.0_f64, -2.0], [0.0; 2], [0.0; 2]);
        let state = Moments { first: parameter.zeros_like(), second: parameter.zeros_like() };
        for step in 1..=3_i32 {
            let gradient = [0.5 * f64::from(step), -0.25];
            let tensor = Tensor::from_slice(&gradient.map(|value| value as f32));
            let settings =
                AdamW { learning_rate, beta1, beta2, weight_decay, epsilon, step: step as u64, divisor: 1.0 };
            adamw_step(&[&parameter], &[&tensor], &[&state], &settings).unwrap();
            for i in 0..2 {
                m[i] = beta1 * m[i] + (1.0 - beta1) * gradient[i];
                v[i] = beta2 * v[i] + (1.0 - beta2) * gradient[i] * gradient[i];
                let (m_hat, v_hat) = (m[i] / (1.0 - beta1.powi(step)), v[i] / (1.0 - beta2.powi(step)));
                expected[i] *= 1.0 - learning_rate * weight_decay;
                expected[i] -= learning_rate * m_hat / (v_hat.sqrt() + epsilon);
            }
        }
        for (found, expected) in Vec::<f32>::try_from(&parameter).unwrap().iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn norms_add_up_over_tensors() {
        let (a, b) = (Tensor::from_slice(&[3.0_f32]), Tensor::from_slice(&[0.0_f32, 4.0]));
        assert_eq!(total_norm(&[&a, &b]).unwrap(), 5.0);
    }

    #[test]
    fn pinned_memory_is_there_with_a_gpu_and_an_error_without() {
        let has_gpu = load_cuda().is_ok() && Cuda::is_available();
        match pinned_rows(2, 3) {
            Ok(mut rows) => {
                rows.copy_(&Tensor::from_slice(&[1_i32, 2, 3]).expand([2, 3], false));
                let sent = rows.to_device_(Device::Cuda(0), Kind::Int, true, false);
                assert_eq!(Vec::<i32>::try_from(sent.view([-1])).unwrap(), [1, 2, 3, 1, 2, 3]);
            }
            Err(error) => {
                println!("skipped, there is no GPU: {error}");
                assert!(!has_gpu, "{error}");
            }
        }
    }

    /// Two rows of three positions, two heads of size four.
    #[test]
    fn attention_looks_at_its_rows_first() {
        let random = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        let (x, weight, bias, tables) = (random(&[6, 8]), random(&[24, 8]), random(&[24]), random(&[4, 3, 2]));
        let attend = |visible: Option<&Tensor>, n_rows, n_heads| {
            let out = attention(&x, (&weight, &bias), &tables, visible, n_rows, n_heads);
            out.map_err(|error| error.to_string())
        };
        let zeros = |size: &[i64], kind| Tensor::zeros(size, (kind, Device::Cpu));
        assert_eq!(attend(None, 2, 2).unwrap().size(), [6, 8]);
        assert!(attend(Some(&zeros(&[2, 1, 3, 3], Kind::Float)), 2, 2).is_ok());
        for (n_rows, n_heads) in [(0, 2), (-1, 2), (4, 2), (2, 0)] {
            assert!(attend(None, n_rows, n_heads).unwrap_err().contains("equally long rows"), "{n_rows} {n_heads}");
        }
        for size in [&[2, 1, 3, 2][..], &[1, 1, 3, 3], &[2, 3, 3], &[2, 2, 3, 3]] {
            let refused = attend(Some(&zeros(size, Kind::Float)), 2, 2).unwrap_err();
            assert!(refused.contains("another shape than the rows"), "{size:?}: {refused}");
        }
        let refused = attend(Some(&zeros(&[2, 1, 3, 3], Kind::Double)), 2, 2).unwrap_err();
        assert!(refused.contains("another kind"), "{refused}");
    }

    #[test]
    fn a_mismatch_is_an_error_and_not_an_abort() {
        let parameter = Tensor::zeros([2], (Kind::Float, Device::Cpu));
        let gradient = Tensor::zeros([3], (Kind::Float, Device::Cpu));
        let state = Moments { first: parameter.zeros_like(), second: parameter.zeros_like() };
        let settings = AdamW {
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.95,
            weight_decay: 0.0,
            epsilon: 1e-8,
            step: 1,
            divisor: 1.0,
        };
        assert!(adamw_step(&[&parameter], &[&gradient], &[&state], &settings).is_err());
    }
}
