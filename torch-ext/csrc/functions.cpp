// The branches of a transformer block as autograd functions: matrix products by libtorch, everything between them by
// kernels.h, and nothing kept for the backward pass but what it cannot compute again cheaply. Shapes: n = rows x positions,
// h hidden, a = heads x head size, f feed-forward units, v vocabulary.
#include "guarded.h"
#include "kernels.h"

#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/copy.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <array>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// MKL's, where libtorch has it: bfloat16 times bfloat16, summed in float32. libtorch's own product of a transposed bfloat16 matrix is half as
// fast, and rounds the sum.
extern "C" void cblas_gemm_bf16bf16f32(int layout, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const void* a, int lda,
                                       const void* b, int ldb, float beta, float* c, int ldc) __attribute__((weak));

extern const AllKernels moso_kernels_any, moso_kernels_gpu;
#ifdef MOSO_X86
extern const AllKernels moso_kernels_avx2, moso_kernels_avx512;
#endif

namespace {

const AllKernels& all_kernels(at::Device device) {
  if (device.is_cuda()) return moso_kernels_gpu;
#ifdef MOSO_X86
  static const AllKernels& chosen = __builtin_cpu_supports("x86-64-v4")   ? moso_kernels_avx512
                                    : __builtin_cpu_supports("x86-64-v3") ? moso_kernels_avx2
                                                                          : moso_kernels_any;
  return chosen;
#else
  return moso_kernels_any;
#endif
}

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

// Calls `body(kernels, T{}, A{})` for the kernels of matrix products in `kind` on the device of `like`.
template <class Body>
void with_kernels(const Tensor& like, at::ScalarType kind, Body body) {
  require(!like.is_cuda() || kind != at::kDouble, "the kernels of a GPU compute in float32 or bfloat16");
  const AllKernels& kernels = all_kernels(like.device());
  switch (kind) {
    case at::kFloat: return body(kernels.of_float, float{}, float{});
    case at::kDouble: return body(kernels.of_double, double{}, double{});
    case at::kBFloat16: return body(kernels.of_bfloat16, BFloat16{}, float{});
    default: throw std::runtime_error("the kernels compute in float32, float64 or bfloat16");
  }
}

// What sums and norms are kept in.
at::ScalarType sums(at::ScalarType kind) { return kind == at::kDouble ? at::kDouble : at::kFloat; }

// The memory of a contiguous tensor of that kind; kernels trust sizes, so callers check those.
template <class T>
T* memory(const Tensor& tensor) {
  require(tensor.is_contiguous() && tensor.element_size() == sizeof(T) && (tensor.is_cpu() || tensor.is_cuda()), "a kernel was given a strided or foreign tensor");
  return static_cast<T*>(tensor.data_ptr());
}

void require_sums(const Tensor& tensor, int64_t n, at::ScalarType kind) {
  require(tensor.numel() == n && tensor.scalar_type() == sums(kind), "a bias, gain or table has another size or kind");
}

Tensor zeros(int64_t n, const Tensor& like, at::ScalarType kind) { return at::zeros({n}, like.options().dtype(sums(kind))); }

bool has_mixed_product(const Tensor& a, const Tensor& b) {
  return a.is_cpu() && a.scalar_type() == at::kBFloat16 && a.is_contiguous() && b.is_contiguous() && cblas_gemm_bf16bf16f32;
}

// sum (m, n) = [sum +] a^T b, of a (k, m) and b (k, n).
void add_transposed_product(Tensor& sum, const Tensor& a, const Tensor& b, bool is_first) {
  if (sum.scalar_type() == at::kFloat && sum.is_contiguous() && has_mixed_product(a, b)) {
    auto [k, m, n] = std::array{static_cast<int>(a.size(0)), static_cast<int>(a.size(1)), static_cast<int>(b.size(1))};
    require(b.size(0) == k && sum.size(0) == m && sum.size(1) == n, "a product does not fit its sum");
    constexpr int kRowMajor = 101, kAsItIs = 111, kTransposed = 112;
    cblas_gemm_bf16bf16f32(kRowMajor, kTransposed, kAsItIs, m, n, k, 1, a.data_ptr(), m, b.data_ptr(), n, is_first ? 0 : 1, sum.data_ptr<float>(), n);
  } else if (sum.scalar_type() != a.scalar_type()) {
    auto product = at::mm(a.t(), b);
    if (is_first) sum.copy_(product); else sum.add_(product);
  } else if (is_first) {
    at::mm_out(sum, a.t(), b);
  } else {
    sum.addmm_(a.t(), b);
  }
}

// The gradient of a weight: d^T x, in its kind.
Tensor weight_gradient(const Tensor& d, const Tensor& x) {
  if (!has_mixed_product(d, x)) return at::mm(d.t(), x);
  auto sum = at::empty({d.size(1), x.size(1)}, d.options().dtype(at::kFloat));
  add_transposed_product(sum, d, x, true);
  return sum.to(d.scalar_type());
}

// LayerNorm beside the residual stream: gives x back, so that the gradients of both meet in one pass.
struct Norm : torch::autograd::Function<Norm> {
  static variable_list forward(AutogradContext* context, const Tensor& x, const Tensor& gain, const Tensor& bias, const Tensor& shares,
                               double epsilon, int64_t kind_number) {
    auto kind = static_cast<at::ScalarType>(kind_number);
    int64_t n = x.size(0), h = x.size(1);
    require(x.scalar_type() == sums(kind), "the residual stream is kept in the kind of sums");
    require_sums(gain, h, kind);
    require_sums(bias, h, kind);
    require_sums(shares, h, kind);
    auto out = at::empty({n, h}, x.options().dtype(kind));
    auto mean = at::empty({n}, x.options()), rstd = at::empty({n}, x.options());
    with_kernels(x, kind, [&](const auto& kernels, auto t, auto a) {
      using T = decltype(t); using A = decltype(a);
      kernels.norm(memory<A>(x), memory<A>(gain), memory<A>(bias), memory<A>(shares), epsilon, memory<T>(out), memory<A>(mean),
                   memory<A>(rstd), n, h);
    });
    context->save_for_backward({x, gain, mean, rstd, shares});
    context->set_materialize_grads(false);
    return {x.view_as(x), out};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &gain = saved[1];
    Tensor passed = gradients[0], d_out = gradients[1];
    if (!d_out.defined()) return {passed, Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
    d_out = d_out.contiguous();
    if (passed.defined()) passed = passed.contiguous();
    int64_t n = x.size(0), h = x.size(1);
    auto dx = at::empty_like(x), d_gain = zeros(h, x, d_out.scalar_type()), d_bias = zeros(h, x, d_out.scalar_type());
    with_kernels(d_out, d_out.scalar_type(), [&](const auto& kernels, auto t, auto a) {
      using T = decltype(t); using A = decltype(a);
      kernels.norm_backward(memory<T>(d_out), passed.defined() ? memory<A>(passed) : nullptr, memory<A>(x), memory<A>(gain),
                            memory<A>(saved[4]), memory<A>(saved[2]), memory<A>(saved[3]), memory<A>(dx), memory<A>(d_gain), memory<A>(d_bias), n, h);
    });
    return {dx, d_gain, d_bias, Tensor(), Tensor(), Tensor()};
  }
};

template <class A>
Rotary<A> rotary_of(const Tensor& tables, int64_t n_positions, int64_t n_heads) {
  // (4, positions of a whole row, d / 2)
  require(tables.dim() == 3 && tables.size(0) == 4 && tables.size(1) >= n_positions, "the rotary tables are shorter than the rows");
  Rotary<A> rotary;
  for (int64_t i = 0; i < 4; i++) rotary.tables[i] = memory<A>(tables) + i * tables.size(1) * tables.size(2);
  rotary.n_positions = n_positions;
  rotary.n_heads = n_heads;
  rotary.head_size = 2 * tables.size(2);
  return rotary;
}

// Queries, keys or values (rows, heads, positions, d) of qkv (n, 3, a), without a copy.
Tensor heads_of(const Tensor& qkv, int64_t part, int64_t n_rows, int64_t n_heads) {
  int64_t positions = qkv.size(0) / n_rows, width = qkv.size(1) / 3;
  return qkv.view({n_rows, positions, 3, n_heads, width / n_heads}).select(2, part).transpose(1, 2);
}

// Projection to queries, keys and values, and rotation: (n, h) to (n, 3 a).
Tensor projected(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& tables, int64_t n_rows, int64_t n_heads) {
  auto kind = x.scalar_type();
  auto qkv = at::mm(x, weight.t());
  require_sums(bias, qkv.size(1), kind);
  require(tables.scalar_type() == sums(kind), "the rotary tables are kept in the kind of sums");
  require(qkv.size(1) == 3 * n_heads * 2 * tables.size(2), "queries, keys and values do not fit the heads");
  int64_t n = qkv.size(0), positions = n / n_rows;
  with_kernels(x, kind, [&](const auto& kernels, auto t, auto a) {
    using T = decltype(t); using A = decltype(a);
    kernels.rotate(memory<T>(qkv), memory<A>(bias), rotary_of<A>(tables, positions, n_heads), n);
  });
  return qkv;
}

// From the gradients of queries, keys and values (rows, heads, positions, d) those of x, weight and bias.
std::tuple<Tensor, Tensor, Tensor> projected_backward(const variable_list& d_heads, const Tensor& x, const Tensor& weight, const Tensor& tables) {
  int64_t n = x.size(0), n_heads = d_heads[0].size(1), positions = d_heads[0].size(2);
  auto flat = [&](const Tensor& d) { return d.transpose(1, 2).contiguous(); };
  auto q = flat(d_heads[0]), k = flat(d_heads[1]), v = flat(d_heads[2]);
  auto d_qkv = at::empty({n, weight.size(0)}, x.options()), d_bias = zeros(weight.size(0), x, x.scalar_type());
  with_kernels(x, x.scalar_type(), [&](const auto& kernels, auto t, auto a) {
    using T = decltype(t); using A = decltype(a);
    const T* const parts[3] = {memory<T>(q), memory<T>(k), memory<T>(v)};
    kernels.rotate_backward(parts, rotary_of<A>(tables, positions, n_heads), memory<T>(d_qkv), memory<A>(d_bias), n);
  });
  return {at::mm(d_qkv, weight), weight_gradient(d_qkv, x), d_bias};
}

// All that, and attention on the CPU: (n, h) to (n, a).
struct Attention : torch::autograd::Function<Attention> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& tables,
                        const std::optional<Tensor>& visible, int64_t n_rows, int64_t n_heads) {
    auto qkv = projected(x, weight, bias, tables, n_rows, n_heads);
    auto part = [&](int64_t part) { return heads_of(qkv, part, n_rows, n_heads); };
    auto [out, sum] = at::_scaled_dot_product_flash_attention_for_cpu(part(0), part(1), part(2), 0.0, !visible, visible);
    context->save_for_backward({x, weight, tables, qkv, out, sum, visible ? *visible : Tensor()});
    context->saved_data["n_rows"] = n_rows;
    return out.transpose(1, 2).reshape({x.size(0), -1});
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    const Tensor &qkv = saved[3], &out = saved[4], &sum = saved[5];
    std::optional<Tensor> visible;
    if (saved[6].defined()) visible = saved[6];
    int64_t n_rows = context->saved_data["n_rows"].toInt(), n_heads = out.size(1);
    auto part = [&](int64_t part) { return heads_of(qkv, part, n_rows, n_heads); };
    auto d_out = gradients[0].contiguous().view({n_rows, qkv.size(0) / n_rows, n_heads, -1}).transpose(1, 2);
    auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(d_out, part(0), part(1), part(2), out, sum, 0.0, !visible, visible);
    auto [d_x, d_weight, d_bias] = projected_backward({dq, dk, dv}, saved[0], saved[1], saved[2]);
    return {d_x, d_weight, d_bias, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

// The same up to attention: queries, keys and values (rows, heads, positions, d) apart, for libtorch to choose how a GPU attends.
struct Projection : torch::autograd::Function<Projection> {
  static variable_list forward(AutogradContext* context, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& tables,
                               int64_t n_rows, int64_t n_heads) {
    at::AutoDispatchBelowADInplaceOrView plain;
    auto qkv = projected(x, weight, bias, tables, n_rows, n_heads);
    context->save_for_backward({x, weight, tables});
    auto part = [&](int64_t part) { return heads_of(qkv, part, n_rows, n_heads); };
    return {part(0), part(1), part(2)};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    auto [d_x, d_weight, d_bias] = projected_backward(gradients, saved[0], saved[1], saved[2]);
    return {d_x, d_weight, d_bias, Tensor(), Tensor(), Tensor()};
  }
};

Tensor attention_of_gpu(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& tables, const std::optional<Tensor>& visible,
                        int64_t n_rows, int64_t n_heads) {
  auto heads = Projection::apply(x, weight, bias, tables, n_rows, n_heads);
  auto out = at::scaled_dot_product_attention(heads[0], heads[1], heads[2], visible, 0.0, !visible);
  return out.transpose(1, 2).reshape({x.size(0), -1});
}

// gelu(x up^T + bias) down^T: (n, h) to (n, h). The units' outputs are computed again in the backward pass.
struct FeedForward : torch::autograd::Function<FeedForward> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& up_weight, const Tensor& up_bias, const Tensor& down_weight) {
    auto up = at::mm(x, up_weight.t());
    require_sums(up_bias, up.size(1), up.scalar_type());
    auto units = at::empty_like(up);
    with_kernels(up, up.scalar_type(), [&](const auto& kernels, auto t, auto a) {
      using T = decltype(t); using A = decltype(a);
      kernels.gelu(memory<T>(up), memory<A>(up_bias), memory<T>(units), up.size(0), up.size(1));
    });
    context->save_for_backward({x, up_weight, up_bias, down_weight, up});
    return at::mm(units, down_weight.t());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &up_weight = saved[1], &up_bias = saved[2], &down_weight = saved[3], &up = saved[4];
    auto d_out = gradients[0].contiguous();
    auto d_up = at::mm(d_out, down_weight), units = at::empty_like(up), d_bias = zeros(up.size(1), up, up.scalar_type());
    with_kernels(up, up.scalar_type(), [&](const auto& kernels, auto t, auto a) {
      using T = decltype(t); using A = decltype(a);
      kernels.gelu_backward(memory<T>(d_up), memory<T>(up), memory<A>(up_bias), memory<T>(units), memory<A>(d_bias), up.size(0), up.size(1));
    });
    auto d_down = weight_gradient(d_out, units);
    return {at::mm(d_up, up_weight), weight_gradient(d_up, x), d_bias, d_down};
  }
};

// x weight^T.
struct Linear : torch::autograd::Function<Linear> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight) {
    context->save_for_backward({x, weight});
    return at::mm(x, weight.t());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    auto d_out = gradients[0].contiguous();
    return {at::mm(d_out, saved[1]), weight_gradient(d_out, saved[0])};
  }
};

// x + (y + bias): (n, h).
struct Residual : torch::autograd::Function<Residual> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y, const Tensor& bias) {
    auto kind = y.scalar_type();
    require(x.sizes() == y.sizes() && x.scalar_type() == sums(kind), "the branch does not fit the residual stream");
    require_sums(bias, x.size(1), kind);
    auto out = at::empty_like(x);
    with_kernels(x, kind, [&](const auto& kernels, auto t, auto a) {
      using T = decltype(t); using A = decltype(a);
      kernels.residual(memory<A>(x), memory<T>(y), memory<A>(bias), memory<A>(out), x.size(0), x.size(1));
    });
    context->saved_data["kind"] = static_cast<int64_t>(kind);
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto kind = static_cast<at::ScalarType>(context->saved_data["kind"].toInt());
    auto d_out = gradients[0].contiguous();
    int64_t n = d_out.size(0), h = d_out.size(1);
    auto dy = kind == d_out.scalar_type() ? d_out : at::empty({n, h}, d_out.options().dtype(kind));
    auto d_bias = zeros(h, d_out, kind);
    with_kernels(d_out, kind, [&](const auto& kernels, auto t, auto a) {
      using T = decltype(t); using A = decltype(a);
      kernels.residual_backward(memory<A>(d_out), dy.is_same(d_out) ? nullptr : memory<T>(dy), memory<A>(d_bias), n, h);
    });
    return {d_out, dy, d_bias};
  }
};

// Changes a gradient in place, and belongs to somebody else. Not 0 where it failed, with the reason in `message`.
struct Change : torch::CustomClassHolder {
  void* owner;
  int (*call)(void*, Tensor*, char* message, size_t length);
  void (*release)(void*);

  Change(void* owner, int (*call)(void*, Tensor*, char*, size_t), void (*release)(void*)) : owner(owner), call(call), release(release) {}
  ~Change() override { release(owner); }
};

// `out` in the place of `x`.
struct Replaced : torch::autograd::Function<Replaced> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& out, const c10::intrusive_ptr<Change>& change) {
    require(x.sizes() == out.sizes() && x.scalar_type() == out.scalar_type(), "a tensor is replaced by one of its size and kind");
    context->saved_data["change"] = c10::IValue::make_capsule(change);
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto capsule = context->saved_data["change"].toCapsule();
    auto& change = static_cast<Change&>(*capsule);
    auto gradient = gradients[0].clone(at::MemoryFormat::Contiguous);
    char message[512] = "";
    if (change.call(change.owner, &gradient, message, sizeof message) != 0) throw std::runtime_error(message);
    return {gradient, Tensor(), Tensor()};
  }
};

}  // namespace

extern "C" {

int moso_norm(Tensor* x, Tensor* gain, Tensor* bias, Tensor* shares, double epsilon, int kind, Tensor** passed, Tensor** out) {
  return guarded_with_gradients([&] {
    auto outputs = Norm::apply(*x, *gain, *bias, *shares, epsilon, static_cast<int64_t>(kind));
    *passed = new Tensor(outputs[0]);
    *out = new Tensor(outputs[1]);
  });
}

int moso_attention(Tensor* x, Tensor* weight, Tensor* bias, Tensor* tables, Tensor* visible, int64_t n_rows, int64_t n_heads, Tensor** out) {
  return guarded_with_gradients([&] {
    require(x->dim() == 2 && n_rows > 0 && n_heads > 0 && x->size(0) % n_rows == 0, "attention is over equally long rows");
    if (visible) {
      int64_t positions = x->size(0) / n_rows;
      require(visible->sizes() == at::IntArrayRef({n_rows, 1, positions, positions}), "what is visible has another shape than the rows");
      require(visible->scalar_type() == x->scalar_type() && visible->device() == x->device(), "what is visible has another kind or device than the rows");
    }
    std::optional<Tensor> mask;
    if (visible) mask = *visible;
    *out = new Tensor(x->is_cuda() ? attention_of_gpu(*x, *weight, *bias, *tables, mask, n_rows, n_heads)
                                   : Attention::apply(*x, *weight, *bias, *tables, mask, n_rows, n_heads));
  });
}

int moso_feed_forward(Tensor* x, Tensor* up_weight, Tensor* up_bias, Tensor* down_weight, Tensor** out) {
  return guarded_with_gradients([&] { *out = new Tensor(FeedForward::apply(*x, *up_weight, *up_bias, *down_weight)); });
}

int moso_linear(Tensor* x, Tensor* weight, Tensor** out) {
  return guarded_with_gradients([&] { *out = new Tensor(Linear::apply(*x, *weight)); });
}

int moso_add_transposed_product(Tensor* sum, Tensor* a, Tensor* b, int is_first) {
  return guarded([&] { add_transposed_product(*sum, *a, *b, is_first); });
}

int moso_residual(Tensor* x, Tensor* y, Tensor* bias, Tensor** out) {
  return guarded_with_gradients([&] { *out = new Tensor(Residual::apply(*x, *y, *bias)); });
}

int moso_replaced(Tensor* x, Tensor* out, void* owner, int (*call)(void*, Tensor*, char*, size_t), void (*release)(void*), Tensor** made) {
  // Takes the owner, whatever happens.
  auto change = c10::make_intrusive<Change>(owner, call, release);
  return guarded_with_gradients([&] { *made = new Tensor(Replaced::apply(*x, *out, change)); });
}

// losses (n); with `scale` not 0 the logits (n, v) become their gradients times it. On a GPU, where nobody has looked at the targets yet,
// one that is not in the vocabulary has the loss NaN.
int moso_cross_entropy(Tensor* logits, Tensor* targets, double scale, Tensor** losses) {
  return guarded([&] {
    int64_t n = logits->size(0), v = logits->size(1);
    require(targets->numel() == n && targets->scalar_type() == at::kLong, "a target of int64 for every row of logits");
    auto out = at::empty({n}, logits->options().dtype(sums(logits->scalar_type())));
    auto ids = memory<int64_t>(*targets);
    for (int64_t i = 0; i < n && targets->is_cpu(); i++) require(ids[i] >= 0 && ids[i] < v, "a target is not in the vocabulary");
    with_kernels(*logits, logits->scalar_type(), [&](const auto& kernels, auto t, auto a) {
      using T = decltype(t); using A = decltype(a);
      kernels.cross_entropy(memory<T>(*logits), ids, memory<A>(out), scale, n, v);
    });
    *losses = new Tensor(out);
  });
}

// Gradients of sum(outputs x d_outputs) for `inputs`; an input that nothing depends on gets null.
int moso_gradients(Tensor* output, Tensor* d_output, size_t n, Tensor* const* inputs, Tensor** gradients) {
  return guarded_with_gradients([&] {
    auto found = torch::autograd::grad({*output}, collect(n, inputs), {*d_output}, std::nullopt, false, true);
    for (size_t i = 0; i < n; i++) gradients[i] = found[i].defined() ? new Tensor(found[i]) : nullptr;
  });
}

}
