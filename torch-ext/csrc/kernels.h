// Element-wise work of one transformer block on the CPU, each piece in one pass over memory. Plain loops that compilers turn into
// vector code; the file is compiled once per instruction set (build.rs) and the best one is chosen when the program runs.
//
// T: what matrix products compute in (float, double, bfloat16). A: what sums, norms and losses are kept in (float, or double for double).
// Rows are contiguous.
#pragma once
#include <cstdint>

template <class A>
struct Rotary {
  // cos and sin times the xPos scale of queries, then of keys, each (n_positions, d / 2).
  const A* tables[4];
  int64_t n_positions, n_heads, head_size;
};

template <class T, class A>
struct Kernels {
  // LayerNorm of x (n, h): out, mean and 1 / standard deviation of every row, in which coordinates have their shares.
  void (*norm)(const A* x, const A* gain, const A* bias, const A* shares, double epsilon, T* out, A* mean, A* rstd, int64_t n, int64_t h);
  // Its gradient, added to `passed` (n, h) where that is not null: dx; d_gain and d_bias are added to.
  void (*norm_backward)(const T* d_out, const A* passed, const A* x, const A* gain, const A* shares, const A* mean, const A* rstd,
                        A* dx, A* d_gain, A* d_bias, int64_t n, int64_t h);
  // Adds the bias (3 x heads) to qkv (n, 3, heads) and rotates queries and keys, in place.
  void (*rotate)(T* qkv, const A* bias, const Rotary<A>& rotary, int64_t n);
  // Gradients of queries, keys and values (n, heads) each, back to those of qkv (n, 3, heads); d_bias is added to.
  void (*rotate_backward)(const T* const d_heads[3], const Rotary<A>& rotary, T* d_qkv, A* d_bias, int64_t n);
  // out = gelu(up + bias), tanh form; (n, f).
  void (*gelu)(const T* up, const A* bias, T* out, int64_t n, int64_t f);
  // From the gradient of out: that of up, in place; `out` is computed again; d_bias is added to.
  void (*gelu_backward)(T* d_out, const T* up, const A* bias, T* out, A* d_bias, int64_t n, int64_t f);
  // out = x + y + bias, (n, h).
  void (*residual)(const A* x, const T* y, const A* bias, A* out, int64_t n, int64_t h);
  // The gradient of y and, added to, that of bias. dy may be null where it is d_out itself.
  void (*residual_backward)(const A* d_out, T* dy, A* d_bias, int64_t n, int64_t h);
  // Cross entropy of logits (n, v) in nats; with `scale` not 0 the logits become their gradients times it.
  void (*cross_entropy)(T* logits, const int64_t* targets, A* losses, double scale, int64_t n, int64_t v);
};

struct BFloat16 {
  uint16_t bits;
};

struct AllKernels {
  Kernels<float, float> of_float;
  Kernels<double, double> of_double;
  Kernels<BFloat16, float> of_bfloat16;
};
