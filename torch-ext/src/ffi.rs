//! The border to C++: the only place of the training side with `unsafe`.
#![expect(
    unsafe_code,
    reason = "calls into csrc/ and borrows foreign memory as tensors; each block says why it is sound"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use tch::{Kind, Tensor};
use thiserror::Error;
use torch_sys::C_tensor;

/// What libtorch said.
#[derive(Debug, Error)]
#[error("libtorch: {0}")]
pub struct TorchError(String);

impl TorchError {
    /// For who stands between libtorch and others.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// The settings of one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of the tensors of this call.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay of the tensors of this call.
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Number of this update, from 1: it corrects the bias of the moments.
    pub step: u64,
    /// Gradients are divided by it first, in place; 1 leaves them as they are.
    pub divisor: f64,
}

/// The optimizer's state of one tensor, owned by the caller.
#[derive(Debug)]
pub struct Moments {
    /// First moment, shaped as the tensor.
    pub first: Tensor,
    /// Second moment, shaped as the tensor.
    pub second: Tensor,
}

unsafe extern "C" {
    fn moso_torch_error() -> *const c_char;
    fn moso_fused_adamw(
        n: usize,
        parameters: *const *const C_tensor,
        gradients: *const *const C_tensor,
        first_moments: *const *const C_tensor,
        second_moments: *const *const C_tensor,
        step: f64,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
        divisor: f64,
    ) -> c_int;
    fn moso_norm(
        x: *const C_tensor,
        gain: *const C_tensor,
        bias: *const C_tensor,
        shares: *const C_tensor,
        epsilon: f64,
        kind: c_int,
        passed: *mut *mut C_tensor,
        out: *mut *mut C_tensor,
    ) -> c_int;
    fn moso_attention(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        tables: *const C_tensor,
        visible: *const C_tensor,
        n_rows: i64,
        n_heads: i64,
        out: *mut *mut C_tensor,
    ) -> c_int;
    fn moso_feed_forward(
        x: *const C_tensor,
        up_weight: *const C_tensor,
        up_bias: *const C_tensor,
        down_weight: *const C_tensor,
        out: *mut *mut C_tensor,
    ) -> c_int;
    fn moso_residual(x: *const C_tensor, y: *const C_tensor, bias: *const C_tensor, out: *mut *mut C_tensor) -> c_int;
    fn moso_linear(x: *const C_tensor, weight: *const C_tensor, out: *mut *mut C_tensor) -> c_int;
    fn moso_add_transposed_product(
        sum: *const C_tensor,
        a: *const C_tensor,
        b: *const C_tensor,
        is_first: c_int,
    ) -> c_int;
    fn moso_cross_entropy(
        logits: *const C_tensor,
        targets: *const C_tensor,
        scale: f64,
        losses: *mut *mut C_tensor,
    ) -> c_int;
    fn moso_replaced(
        x: *const C_tensor,
        out: *const C_tensor,
        owner: *mut c_void,
        call: extern "C" fn(*mut c_void, *const C_tensor, *mut c_char, usize) -> c_int,
        release: extern "C" fn(*mut c_void),
        made: *mut *mut C_tensor,
    ) -> c_int;
    fn moso_gradients(
        output: *const C_tensor,
        d_output: *const C_tensor,
        n: usize,
        inputs: *const *const C_tensor,
        gradients: *mut *mut C_tensor,
    ) -> c_int;
    fn moso_rows(
        data: *const c_void,
        n_rows: i64,
        length: i64,
        owner: *mut c_void,
        release: extern "C" fn(*mut c_void),
        rows: *mut *mut C_tensor,
    ) -> c_int;
    fn moso_total_norm(n: usize, tensors: *const *const C_tensor, norm: *mut f64) -> c_int;
    fn moso_load_cuda(gpu_source: *const c_char) -> c_int;
    fn _exit(code: c_int) -> !;
    fn moso_pinned_rows(n_rows: i64, length: i64, rows: *mut *mut C_tensor) -> c_int;
}

/// Updates `parameters` in place (Loshchilov and Hutter, arXiv 1711.05101); the three slices go together.
///
/// # Panics
/// Where the slices differ in length.
pub fn adamw_step(
    parameters: &[&Tensor],
    gradients: &[&Tensor],
    moments: &[&Moments],
    settings: &AdamW,
) -> Result<(), TorchError> {
    assert_eq!(parameters.len(), gradients.len(), "every parameter has a gradient");
    assert_eq!(parameters.len(), moments.len(), "every parameter has moments");
    // The kernel trusts sizes and strides: it would read past the end of a smaller tensor, or the wrong elements of a view.
    for ((parameter, gradient), moments) in parameters.iter().zip(gradients).zip(moments) {
        let size = parameter.size();
        if gradient.size() != size || moments.first.size() != size || moments.second.size() != size {
            return Err(TorchError(format!("a gradient or moment of a tensor {size:?} has another shape")));
        }
        let all = [*parameter, *gradient, &moments.first, &moments.second];
        if !all.into_iter().all(Tensor::is_contiguous) {
            return Err(TorchError(format!("a tensor {size:?}, its gradient or a moment of it is a strided view")));
        }
    }
    let first: Vec<_> = moments.iter().map(|moments| moments.first.as_ptr()).collect();
    let second: Vec<_> = moments.iter().map(|moments| moments.second.as_ptr()).collect();
    let (parameters, gradients) = (pointers(parameters), pointers(gradients));
    // SAFETY: all four arrays hold `parameters.len()` pointers to live tensors, borrowed for the whole call; the callee
    // keeps none of them and turns C++ exceptions into an error code.
    let code = unsafe {
        moso_fused_adamw(
            parameters.len(),
            parameters.as_ptr(),
            gradients.as_ptr(),
            first.as_ptr(),
            second.as_ptr(),
            settings.step as f64,
            settings.learning_rate,
            settings.beta1,
            settings.beta2,
            settings.weight_decay,
            settings.epsilon,
            settings.divisor,
        )
    };
    check(code)
}

/// The L2 norm of all elements of all tensors.
pub fn total_norm(tensors: &[&Tensor]) -> Result<f64, TorchError> {
    let tensors = pointers(tensors);
    let mut norm = 0.0;
    // SAFETY: as above; `norm` outlives the call.
    let code = unsafe { moso_total_norm(tensors.len(), tensors.as_ptr(), &raw mut norm) };
    check(code).map(|()| norm)
}

/// `n_rows` equally long rows of token ids as an int32 tensor `(n_rows, length)` over the owner's memory: nothing is
/// copied, and the owner lives until the last tensor over it is gone. Token ids are below 2^31, so the bytes of a u32 are
/// those of the int32. The memory may be a read-only mapping: in-place operations on the tensor are forbidden.
///
/// # Panics
/// Where the rows are not equally long.
pub fn rows_tensor<O>(owner: O, n_rows: usize) -> Result<Tensor, TorchError>
where
    O: AsRef<[u32]> + Send + 'static,
{
    // Boxed first, so that the slice stays where it is even if `O` holds it inline.
    let owner = Box::new(owner);
    let tokens: &[u32] = (*owner).as_ref();
    assert!(n_rows > 0 && tokens.len().is_multiple_of(n_rows), "rows must be equally long");
    let (data, length) = (tokens.as_ptr().cast(), (tokens.len() / n_rows) as i64);
    let mut rows = std::ptr::null_mut();
    let owner = Box::into_raw(owner);
    // SAFETY: `data` points to `n_rows * length` u32 that belong to `owner`; the box is given away and taken back exactly
    // once, by `release`, when no tensor uses the memory any more.
    let code = unsafe { moso_rows(data, n_rows as i64, length, owner.cast(), release::<O>, &raw mut rows) };
    check(code)?;
    // SAFETY: the callee made a new tensor and hands over its ownership.
    Ok(unsafe { Tensor::from_ptr(rows) })
}

/// Loads libtorch's CUDA half, and asks it for algorithms that give the same bits every time. It must come before anything asks libtorch
/// about GPUs, which it answers once and for all.
pub fn load_cuda() -> Result<(), TorchError> {
    let source = CString::new(include_str!("../csrc/gpu.cu")).expect("a source has no NUL");
    // SAFETY: the callee copies the source. The loader runs the constructors of libtorch's own libraries, which only fill its tables of kernels.
    check(unsafe { moso_load_cuda(source.as_ptr()) })
}

/// A new int32 tensor `(n_rows, length)` in page-locked host memory, its values unset: a GPU copies from it by itself, while
/// the host does something else. Fails where there is no GPU.
pub fn pinned_rows(n_rows: usize, length: usize) -> Result<Tensor, TorchError> {
    let mut rows = std::ptr::null_mut();
    // SAFETY: `rows` outlives the call; sizes that do not fit into memory come back as an error code.
    let code = unsafe { moso_pinned_rows(n_rows as i64, length as i64, &raw mut rows) };
    check(code)?;
    // SAFETY: the callee made a new tensor and hands over its ownership.
    Ok(unsafe { Tensor::from_ptr(rows) })
}

/// LayerNorm beside the residual stream: `x` `(n, h)` again and its norm in `kind` (float32, float64 or bfloat16). `x`,
/// `gain`, `bias` and `shares` `(h)` are float32, or float64 where `kind` is. Shares are those that coordinates have in mean and variance,
/// 1 / h for a plain LayerNorm; no gradient is taken of them.
pub fn norm(
    x: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    shares: &Tensor,
    epsilon: f64,
    kind: Kind,
) -> Result<(Tensor, Tensor), TorchError> {
    let kind = match kind {
        Kind::Float => 6,
        Kind::Double => 7,
        Kind::BFloat16 => 15,
        other => return Err(TorchError(format!("no norm in {other:?}"))),
    };
    let (mut passed, mut out) = (std::ptr::null_mut(), std::ptr::null_mut());
    let (x, gain, bias, shares) = (x.as_ptr(), gain.as_ptr(), bias.as_ptr(), shares.as_ptr());
    // SAFETY: the tensors live as long as the call; the callee checks sizes and kinds and makes two new tensors.
    check(unsafe { moso_norm(x, gain, bias, shares, epsilon, kind, &raw mut passed, &raw mut out) })?;
    // SAFETY: both are new and ours.
    Ok(unsafe { (Tensor::from_ptr(passed), Tensor::from_ptr(out)) })
}

/// Projection of `x` `(n, h)` to queries, keys and values by `weight` `(3a, h)` and `bias` `(3a)`, rotation by `tables` `(4, positions, d/2)` (cos
/// and sin of queries, then of keys), attention over each of `n_rows` rows: `(n, a)`. Causal, or over what is `visible`: 0
/// where a position is seen and minus infinity where not, `(n_rows, 1, positions, positions)`.
pub fn attention(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    tables: &Tensor,
    visible: Option<&Tensor>,
    n_rows: i64,
    n_heads: i64,
) -> Result<Tensor, TorchError> {
    let visible = visible.map_or(std::ptr::null(), |visible| visible.as_ptr());
    new_tensor(|out| {
        let (weight, bias) = (weight.as_ptr(), bias.as_ptr());
        // SAFETY: the tensors live as long as the call; the callee checks sizes and kinds; a null `visible` means none.
        unsafe { moso_attention(x.as_ptr(), weight, bias, tables.as_ptr(), visible, n_rows, n_heads, out) }
    })
}

/// `gelu(x up^T + bias) down^T`, tanh form: `(n, h)` from `(n, h)`, `up` `(f, h)`, `bias` `(f)`, `down` `(h, f)`.
pub fn feed_forward(x: &Tensor, up: &Tensor, bias: &Tensor, down: &Tensor) -> Result<Tensor, TorchError> {
    // SAFETY: the tensors live as long as the call; the callee checks sizes and kinds.
    new_tensor(|out| unsafe { moso_feed_forward(x.as_ptr(), up.as_ptr(), bias.as_ptr(), down.as_ptr(), out) })
}

/// `x weight^T`: `(n, o)` from `(n, i)` and `(o, i)`.
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor, TorchError> {
    // SAFETY: the tensors live as long as the call, and libtorch checks their sizes.
    new_tensor(|out| unsafe { moso_linear(x.as_ptr(), weight.as_ptr(), out) })
}

/// `sum` `(m, n)` becomes `a^T b`, or is added to it where it is not the first product; of `a` `(k, m)` and `b` `(k, n)`, whose kind may be
/// lower than that of the sum. On any device.
pub fn add_transposed_product(sum: &mut Tensor, a: &Tensor, b: &Tensor, is_first: bool) -> Result<(), TorchError> {
    // SAFETY: the tensors live as long as the call; the callee checks sizes and kinds.
    check(unsafe { moso_add_transposed_product(sum.as_ptr(), a.as_ptr(), b.as_ptr(), c_int::from(is_first)) })
}

/// `x + (y + bias)`: `x` `(n, h)` in the kind of sums, `y` `(n, h)` in the kind of matrix products, `bias` `(h)`.
pub fn residual(x: &Tensor, y: &Tensor, bias: &Tensor) -> Result<Tensor, TorchError> {
    // SAFETY: the tensors live as long as the call; the callee checks sizes and kinds.
    new_tensor(|out| unsafe { moso_residual(x.as_ptr(), y.as_ptr(), bias.as_ptr(), out) })
}

/// Cross entropy in nats `(n)` of `logits` `(n, v)` for `targets` `(n)` of int64. Where `scale` is not 0, the logits become the
/// gradients of the sum of all losses times `scale`. A target that is not in the vocabulary is an error, and on a GPU the loss NaN.
pub fn cross_entropy(logits: &mut Tensor, targets: &Tensor, scale: f64) -> Result<Tensor, TorchError> {
    // SAFETY: the tensors live as long as the call; the callee checks sizes, kinds and targets.
    new_tensor(|losses| unsafe { moso_cross_entropy(logits.as_ptr(), targets.as_ptr(), scale, losses) })
}

/// `out` in the place of `x`, of the same size and kind: the gradient of `x` is that of `out` after `change`, which may run on another
/// thread, once for every backward pass, and lives as long as the graph.
pub fn replaced<F>(x: &Tensor, out: &Tensor, change: F) -> Result<Tensor, TorchError>
where
    F: Fn(&mut Tensor) -> Result<(), TorchError> + Send + Sync + 'static,
{
    let owner = Box::into_raw(Box::new(change)).cast();
    let (x, out) = (x.as_ptr(), out.as_ptr());
    // SAFETY: the tensors live as long as the call. The box is given away and taken back exactly once, by `release`, behind the last `call`.
    new_tensor(|made| unsafe { moso_replaced(x, out, owner, call::<F>, release::<F>, made) })
}

/// The gradient of the sum of `output` times `d_output` for each of `inputs`; `None` for one that `output` does not depend on.
pub fn gradients(output: &Tensor, d_output: &Tensor, inputs: &[&Tensor]) -> Result<Vec<Option<Tensor>>, TorchError> {
    let inputs = pointers(inputs);
    let mut gradients = vec![std::ptr::null_mut(); inputs.len()];
    let (n, places) = (inputs.len(), gradients.as_mut_ptr());
    // SAFETY: the tensors live as long as the call; `gradients` has a place for each of the inputs.
    check(unsafe { moso_gradients(output.as_ptr(), d_output.as_ptr(), n, inputs.as_ptr(), places) })?;
    // SAFETY: those that are not null are new and ours.
    let take = |gradient: *mut C_tensor| (!gradient.is_null()).then(|| unsafe { Tensor::from_ptr(gradient) });
    Ok(gradients.into_iter().map(take).collect())
}

fn new_tensor(make: impl FnOnce(*mut *mut C_tensor) -> c_int) -> Result<Tensor, TorchError> {
    let mut out = std::ptr::null_mut();
    check(make(&raw mut out))?;
    // SAFETY: `make` succeeded, so it made a new tensor and hands over its ownership.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Ends the process at once: libtorch's own clean-up at exit crashes where its threads still compute.
pub fn end_process(code: i32) -> ! {
    // SAFETY: `_exit` touches no memory of the process and does not return.
    unsafe { _exit(code) }
}

extern "C" fn call<F>(owner: *mut c_void, gradient: *const C_tensor, message: *mut c_char, length: usize) -> c_int
where
    F: Fn(&mut Tensor) -> Result<(), TorchError>,
{
    // SAFETY: `owner` is the box that `replaced` gave away, alive until `release`, and F may be called from any thread.
    let change = unsafe { &*owner.cast::<F>() };
    // SAFETY: the caller's tensor lives as long as this call; what is made of it here shares its memory and is counted.
    let mut gradient = unsafe { Tensor::clone_from_ptr(gradient.cast_mut()) };
    let Err(TorchError(reason)) = change(&mut gradient) else { return 0 };
    // Room for a NUL behind it.
    let n_bytes = reason.len().min(length.saturating_sub(1));
    // SAFETY: `message` has `length` bytes, more than are written.
    unsafe {
        std::ptr::copy_nonoverlapping(reason.as_ptr(), message.cast(), n_bytes);
        *message.add(n_bytes) = 0;
    }
    1
}

extern "C" fn release<O>(owner: *mut c_void) {
    // SAFETY: `owner` came from Box::into_raw of a Box<O>, and libtorch calls a deleter once.
    drop(unsafe { Box::from_raw(owner.cast::<O>()) });
}

fn pointers(tensors: &[&Tensor]) -> Vec<*const C_tensor> {
    tensors.iter().map(|tensor| tensor.as_ptr()).collect()
}

fn check(code: c_int) -> Result<(), TorchError> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the callee returns a pointer to a NUL-terminated string that lives until its next error on this thread.
    let message = unsafe { CStr::from_ptr(moso_torch_error()) };
    Err(TorchError(message.to_string_lossy().into_owned()))
}
