// kernels.h for GPUs, in float32 or bfloat16. Compiled when a program first needs it (gpu.cpp), once for every T, what matrix products
// compute in, and V, how many neighbours a thread works on: 4 where rows allow it, else 1. Sums and norms are float32. NVRTC knows neither
// headers nor macros of the C library.
//
// No atomic additions: sums over rows are made in parts, and the parts added in order, so the same input gives the same bits.

struct bf16 {
  unsigned short bits;
};

using T = MOSO_T;
constexpr int V = MOSO_V;

__device__ inline float get(float value) { return value; }
__device__ inline float get(bf16 value) { return __uint_as_float(static_cast<unsigned>(value.bits) << 16); }
__device__ inline void put(float& place, float value) { place = value; }
__device__ inline void put(bf16& place, float value) { asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(place.bits) : "f"(value)); }

template <class X>
struct alignas(V * sizeof(X)) Some {
  X at[V];
};

template <class X>
__device__ inline Some<X> load(const X* place) {
  return *reinterpret_cast<const Some<X>*>(place);
}
template <class X>
__device__ inline void store(X* place, const Some<X>& values) {
  *reinterpret_cast<Some<X>*>(place) = values;
}

// The sum over all threads of a block of 32 x warps threads in one dimension, for all of them.
__device__ float block_sum(float value) {
  __shared__ float of_warps[32];
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(~0u, value, distance);
  __syncthreads();
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
  __syncthreads();
  value = threadIdx.x % 32 < blockDim.x / 32 ? of_warps[threadIdx.x % 32] : 0;
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(~0u, value, distance);
  return value;
}

__device__ float block_highest(float value) {
  __shared__ float of_warps[32];
  for (int distance = 16; distance > 0; distance /= 2) value = fmaxf(value, __shfl_xor_sync(~0u, value, distance));
  __syncthreads();
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
  __syncthreads();
  value = of_warps[threadIdx.x % (blockDim.x / 32)];
  for (int distance = 16; distance > 0; distance /= 2) value = fmaxf(value, __shfl_xor_sync(~0u, value, distance));
  return value;
}

// A block for every row.
extern "C" __global__ void moso_norm(const float* x, const float* gain, const float* bias, const float* shares, float epsilon, T* out,
                                float* mean, float* rstd, int h) {
  long long row = blockIdx.x;
  x += row * h;
  out += row * h;
  int first = V * threadIdx.x, step = V * blockDim.x;
  float sum = 0;
  for (int i = first; i < h; i += step) {
    auto values = load(x + i), s = load(shares + i);
    for (int k = 0; k < V; k++) sum += values.at[k] * s.at[k];
  }
  float m = block_sum(sum);
  sum = 0;
  for (int i = first; i < h; i += step) {
    auto values = load(x + i), s = load(shares + i);
    for (int k = 0; k < V; k++) sum += (values.at[k] - m) * (values.at[k] - m) * s.at[k];
  }
  float r = 1.0f / sqrtf(block_sum(sum) + epsilon);
  for (int i = first; i < h; i += step) {
    auto values = load(x + i), g = load(gain + i), b = load(bias + i);
    Some<T> normed;
    for (int k = 0; k < V; k++) put(normed.at[k], (values.at[k] - m) * r * g.at[k] + b.at[k]);
    store(out + i, normed);
  }
  if (threadIdx.x == 0) {
    mean[row] = m;
    rstd[row] = r;
  }
}

// A block for every so many rows; its part of d_gain and of d_bias is row blockIdx.x of `parts` (blocks, 2, h).
extern "C" __global__ void moso_norm_backward(const T* d_out, const float* passed, const float* x, const float* gain, const float* shares,
                                         const float* mean, const float* rstd, float* dx, float* parts, int n, int h) {
  extern __shared__ __align__(16) float d_gain[];
  float* d_bias = d_gain + h;
  int first = V * threadIdx.x, step = V * blockDim.x;
  // A thread sees the same columns in every row: nobody else touches its sums.
  for (int i = first; i < h; i += step)
    for (int k = 0; k < V; k++) d_gain[i + k] = d_bias[i + k] = 0;
  for (long long row = blockIdx.x; row < n; row += gridDim.x) {
    const T* d_row = d_out + row * h;
    const float* x_row = x + row * h;
    float m = mean[row], r = rstd[row], sum = 0, dot = 0;
    for (int i = first; i < h; i += step) {
      auto d = load(d_row + i);
      auto values = load(x_row + i), g = load(gain + i);
      for (int k = 0; k < V; k++) {
        float scaled = get(d.at[k]) * g.at[k];
        sum += scaled;
        dot += scaled * ((values.at[k] - m) * r);
      }
    }
    sum = block_sum(sum);
    dot = block_sum(dot);
    for (int i = first; i < h; i += step) {
      auto d = load(d_row + i);
      auto values = load(x_row + i), g = load(gain + i), s = load(shares + i);
      Some<float> out = {};
      if (passed) out = load(passed + row * h + i);
      auto gains = load(d_gain + i), biases = load(d_bias + i);
      for (int k = 0; k < V; k++) {
        float normed = (values.at[k] - m) * r, slope = get(d.at[k]);
        gains.at[k] += slope * normed;
        biases.at[k] += slope;
        out.at[k] += r * (slope * g.at[k] - (sum + normed * dot) * s.at[k]);
      }
      store(d_gain + i, gains);
      store(d_bias + i, biases);
      store(dx + row * h + i, out);
    }
  }
  for (int i = first; i < h; i += step) {
    store(parts + 2LL * blockIdx.x * h + i, load(d_gain + i));
    store(parts + (2LL * blockIdx.x + 1) * h + i, load(d_bias + i));
  }
}

// Adds the sum of n rows of `parts`, `stride` apart and w long, to `out`. Blocks of 32 x 32.
extern "C" __global__ void moso_add_parts(const float* parts, int n, int stride, int w, float* out) {
  __shared__ float sums[32][33];
  int column = 32 * blockIdx.x + threadIdx.x;
  float sum = 0;
  if (column < w)
    for (int row = threadIdx.y; row < n; row += 32) sum += parts[static_cast<long long>(row) * stride + column];
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= w) return;
  for (int y = 1; y < 32; y++) sum += sums[y][threadIdx.x];
  out[column] += sum;
}

// From here on, kernels with sums over rows have blocks of 32 x 8 threads: V columns a thread, and every 8th of so many rows.

// The sums of V columns over the 8 threads that share them, to `out` where that is not null.
__device__ void store_part(const float* sums, float* out) {
  __shared__ float of_threads[8][32 * V];
  __syncthreads();
  for (int k = 0; k < V; k++) of_threads[threadIdx.y][V * threadIdx.x + k] = sums[k];
  __syncthreads();
  if (threadIdx.y > 0 || !out) return;
  for (int k = 0; k < V; k++) {
    float sum = 0;
    for (int y = 0; y < 8; y++) sum += of_threads[y][V * threadIdx.x + k];
    out[k] = sum;
  }
}

// V pairs of one head of one token: `part` is 0 for queries, 1 for keys, 2 for values.
struct Pairs {
  int part, head, pair;
  __device__ Pairs(unsigned index, int n_heads, int n_pairs) {
    unsigned groups = n_pairs / V;
    pair = V * (index % groups);
    head = index / groups % n_heads;
    part = index / groups / n_heads;
  }
  __device__ int column(int n_pairs) const { return head * 2 * n_pairs + pair; }
};

// A thread for V pairs of a token.
extern "C" __global__ void moso_rotate(T* qkv, const float* bias, const float* tables, int n_table, int n_positions, int n_heads, int n_pairs,
                                  int n) {
  unsigned per_token = 3 * n_heads * n_pairs / V, index = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned token = index / per_token;
  if (token >= n) return;
  Pairs pairs(index % per_token, n_heads, n_pairs);
  long long width = 2LL * n_heads * n_pairs;
  int column = pairs.column(n_pairs);
  T* place = qkv + (3LL * token + pairs.part) * width + column;
  const float* b = bias + pairs.part * width + column;
  auto first = load(place), second = load(place + n_pairs);
  auto first_bias = load(b), second_bias = load(b + n_pairs);
  Some<float> cosines, sines;
  for (int k = 0; k < V; k++) cosines.at[k] = 1, sines.at[k] = 0;
  if (pairs.part < 2) {
    const float* table = tables + (2LL * pairs.part * n_table + token % n_positions) * n_pairs + pairs.pair;
    cosines = load(table);
    sines = load(table + static_cast<long long>(n_table) * n_pairs);
  }
  for (int k = 0; k < V; k++) {
    float x = get(first.at[k]) + first_bias.at[k], y = get(second.at[k]) + second_bias.at[k], c = cosines.at[k], s = sines.at[k];
    put(first.at[k], x * c - y * s);
    put(second.at[k], y * c + x * s);
  }
  store(place, first);
  store(place + n_pairs, second);
}

extern "C" __global__ void moso_rotate_backward(const T* d_query, const T* d_key, const T* d_value, const float* tables, int n_table,
                                           int n_positions, int n_heads, int n_pairs, T* d_qkv, float* parts, int n, int n_rows) {
  unsigned index = 32 * blockIdx.x + threadIdx.x;
  long long width = 2LL * n_heads * n_pairs;
  bool is_there = index < 3 * n_heads * n_pairs / V;
  Pairs pairs(index, n_heads, n_pairs);
  int column = pairs.column(n_pairs), last = min(n, n_rows * (static_cast<int>(blockIdx.y) + 1));
  const T* from = (pairs.part == 0 ? d_query : pairs.part == 1 ? d_key : d_value) + column;
  float first_sums[V] = {}, second_sums[V] = {};
  for (long long token = n_rows * blockIdx.y + threadIdx.y; is_there && token < last; token += 8) {
    auto first = load(from + token * width), second = load(from + token * width + n_pairs);
    Some<float> cosines, sines;
    for (int k = 0; k < V; k++) cosines.at[k] = 1, sines.at[k] = 0;
    if (pairs.part < 2) {
      const float* table = tables + (2LL * pairs.part * n_table + token % n_positions) * n_pairs + pairs.pair;
      cosines = load(table);
      sines = load(table + static_cast<long long>(n_table) * n_pairs);
    }
    for (int k = 0; k < V; k++) {
      float dx = get(first.at[k]), dy = get(second.at[k]), c = cosines.at[k], s = sines.at[k];
      float x = dx * c + dy * s, y = dy * c - dx * s;
      put(first.at[k], x);
      put(second.at[k], y);
      first_sums[k] += x;
      second_sums[k] += y;
    }
    T* to = d_qkv + (3 * token + pairs.part) * width + column;
    store(to, first);
    store(to + n_pairs, second);
  }
  float* part = parts + (3LL * blockIdx.y + pairs.part) * width + column;
  store_part(first_sums, is_there ? part : nullptr);
  store_part(second_sums, is_there ? part + n_pairs : nullptr);
}

// gelu(u) = u s(2 k (u + c u^3)) with s the logistic function: the tanh form.
__device__ inline float logistic_of(float u) {
  const float k = 0.7978845608028654f, c = 0.044715f;
  return 1.0f / (1.0f + __expf(-2 * k * (u + c * u * u * u)));
}

extern "C" __global__ void moso_gelu(const T* up, const float* bias, T* out, long long size, int f) {
  long long index = V * (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x);
  if (index >= size) return;
  auto values = load(up + index);
  auto b = load(bias + index % f);
  for (int k = 0; k < V; k++) {
    float u = get(values.at[k]) + b.at[k];
    put(values.at[k], u * logistic_of(u));
  }
  store(out + index, values);
}

extern "C" __global__ void moso_gelu_backward(T* d_out, const T* up, const float* bias, T* out, float* parts, int n, int f, int n_rows) {
  const float k = 0.7978845608028654f, c = 0.044715f;
  int column = V * (32 * blockIdx.x + threadIdx.x), last = min(n, n_rows * (static_cast<int>(blockIdx.y) + 1));
  bool is_there = column < f;
  float sums[V] = {};
  for (long long row = n_rows * blockIdx.y + threadIdx.y; is_there && row < last; row += 8) {
    long long index = row * f + column;
    auto slopes = load(d_out + index), values = load(up + index);
    auto b = load(bias + column);
    for (int i = 0; i < V; i++) {
      float u = get(values.at[i]) + b.at[i], s = logistic_of(u);
      float d = get(slopes.at[i]) * (s + u * s * (1 - s) * 2 * k * (1 + 3 * c * u * u));
      put(values.at[i], u * s);
      put(slopes.at[i], d);
      sums[i] += d;
    }
    store(out + index, values);
    store(d_out + index, slopes);
  }
  store_part(sums, is_there ? parts + static_cast<long long>(blockIdx.y) * f + column : nullptr);
}

extern "C" __global__ void moso_residual(const float* x, const T* y, const float* bias, float* out, long long size, int h) {
  long long index = V * (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x);
  if (index >= size) return;
  auto values = load(x + index), b = load(bias + index % h);
  auto branch = load(y + index);
  for (int k = 0; k < V; k++) values.at[k] += get(branch.at[k]) + b.at[k];
  store(out + index, values);
}

extern "C" __global__ void moso_residual_backward(const float* d_out, T* dy, float* parts, int n, int h, int n_rows) {
  int column = V * (32 * blockIdx.x + threadIdx.x), last = min(n, n_rows * (static_cast<int>(blockIdx.y) + 1));
  bool is_there = column < h;
  float sums[V] = {};
  for (long long row = n_rows * blockIdx.y + threadIdx.y; is_there && row < last; row += 8) {
    auto values = load(d_out + row * h + column);
    Some<T> rounded;
    for (int k = 0; k < V; k++) {
      sums[k] += values.at[k];
      put(rounded.at[k], values.at[k]);
    }
    if (dy) store(dy + row * h + column, rounded);
  }
  store_part(sums, is_there ? parts + static_cast<long long>(blockIdx.y) * h + column : nullptr);
}

// A block for every row. A target that is not in the vocabulary has no loss: NaN.
extern "C" __global__ void moso_cross_entropy(T* logits, const long long* targets, float* losses, float scale, int v) {
  long long row = blockIdx.x, target = targets[row];
  logits += row * v;
  int first = V * threadIdx.x, step = V * blockDim.x;
  float highest = -__int_as_float(0x7f800000), sum = 0;
  for (int i = first; i < v; i += step) {
    auto values = load(logits + i);
    float here = highest;
    for (int k = 0; k < V; k++) here = fmaxf(here, get(values.at[k]));
    if (here > highest) {
      sum *= __expf(highest - here);
      highest = here;
    }
    for (int k = 0; k < V; k++) sum += __expf(get(values.at[k]) - highest);
  }
  float of_all = block_highest(highest);
  sum = block_sum(highest == -__int_as_float(0x7f800000) ? 0 : sum * __expf(highest - of_all));
  bool is_known = target >= 0 && target < v;
  if (threadIdx.x == 0) losses[row] = is_known ? logf(sum) - (get(logits[target]) - of_all) : __int_as_float(0x7fc00000);
  if (scale == 0) return;
  // The loss above reads a logit that another thread overwrites below.
  __syncthreads();
  float factor = scale / sum;
  for (int i = first; i < v; i += step) {
    auto values = load(logits + i);
    for (int k = 0; k < V; k++) {
      float share = __expf(get(values.at[k]) - of_all) * factor;
      put(values.at[k], i + k == target ? share - scale : share);
    }
    store(logits + i, values);
  }
}
