// The fused AdamW step, the norm of many tensors, tensors over memory that somebody else owns, and pinned memory:
// libtorch has all of them, tch binds none.
//
// Every function returns 0, or 1 with the reason in moso_torch_error(). Tensors cross as `at::Tensor*`, the pointer that tch
// holds, and stay owned by the caller.
#include "guarded.h"

#include <ATen/ops/_foreach_div.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>

extern "C" {

const char* moso_torch_error() { return last_error.c_str(); }

int moso_fused_adamw(size_t n, at::Tensor* const* parameters, at::Tensor* const* gradients, at::Tensor* const* first_moments,
                     at::Tensor* const* second_moments, double step, double learning_rate, double beta1, double beta2,
                     double weight_decay, double epsilon, double divisor) {
  return guarded([&] {
    auto p = collect(n, parameters), g = collect(n, gradients), m = collect(n, first_moments);
    auto v = collect(n, second_moments);
    // The kernel of a GPU reads the number of the update there.
    auto place = n > 0 ? p[0].device() : at::Device(at::kCPU);
    auto number = at::TensorOptions(place).dtype(at::kFloat);
    std::vector<at::Tensor> s(n, at::full({}, step, number));
    std::optional<at::Tensor> divide;
    // The kernel takes the divisor in float32, which is too coarse for float64.
    bool is_double = n > 0 && g[0].scalar_type() == at::kDouble;
    if (divisor != 1 && is_double) g = at::_foreach_div(g, divisor);
    if (divisor != 1 && !is_double) divide = at::full({}, divisor, number);
    at::_fused_adamw_(p, g, m, v, {}, s, learning_rate, beta1, beta2, weight_decay, epsilon, /*amsgrad=*/false,
                      /*maximize=*/false, divide);
  });
}

int moso_total_norm(size_t n, at::Tensor* const* tensors, double* norm) {
  return guarded([&] {
    auto norms = at::_foreach_norm(collect(n, tensors), 2);
    *norm = at::linalg_vector_norm(at::stack(norms)).item<double>();
  });
}

// An int32 tensor (n_rows, length) over `data`; `release(owner)` runs when the last tensor that uses it is gone.
int moso_rows(const void* data, int64_t n_rows, int64_t length, void* owner, void (*release)(void*), at::Tensor** rows) {
  return guarded([&] {
    auto deleter = [owner, release](void*) { release(owner); };
    *rows = new at::Tensor(at::from_blob(const_cast<void*>(data), {n_rows, length}, deleter, at::kInt));
  });
}

// The allocator of pinned memory keeps a block until the copies that were queued from it are done, then hands it out again.
int moso_pinned_rows(int64_t n_rows, int64_t length, at::Tensor** rows) {
  return guarded([&] {
    auto options = at::TensorOptions(at::kCPU).dtype(at::kInt).pinned_memory(true);
    *rows = new at::Tensor(at::empty({n_rows, length}, options));
  });
}

}
