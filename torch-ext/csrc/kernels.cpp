// See kernels.h. MOSO_KERNELS names the table that this compilation fills.
#include "kernels.h"

#include <cmath>
#include <cstring>

namespace {

// Sums of a row are kept in so many running sums, so that they can be added side by side; the order never changes.
constexpr int64_t kLanes = 16;

template <class T> struct Accumulator { using Type = T; };
template <> struct Accumulator<BFloat16> { using Type = float; };

inline float get(float value) { return value; }
inline double get(double value) { return value; }
inline float get(BFloat16 value) {
  uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float out;
  std::memcpy(&out, &bits, 4);
  return out;
}

inline void put(float& place, float value) { place = value; }
inline void put(double& place, double value) { place = value; }
inline void put(BFloat16& place, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  // Nearest, ties to even; a NaN keeps its quiet bit.
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  place.bits = static_cast<uint16_t>(value != value ? 0x7fc0 : rounded);
}

// e^x within 2e-7 of it, for compilers to vectorise: 2^n times a polynomial of the rest (Cephes' expf). Beyond e^-64 = 1.6e-28, which
// is nothing beside 1, it stays there: products of it with small factors would leave the range in which processors compute fast.
inline float exponential(float x) {
  x = x < -64.0f ? -64.0f : x;
  x = x > 64.0f ? 64.0f : x;
  const float magic = 12582912.0f;
  float n = x * 1.44269504088896341f + magic;
  n -= magic;
  float r = x - n * 0.693359375f;
  r += n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  int32_t shift = (static_cast<int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &shift, 4);
  return p * power;
}
inline double exponential(double x) { return std::exp(x); }

template <class A, class F>
inline A sum_of(int64_t n, F value) {
  A lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; lane++) lanes[lane] += value(i + lane);
  for (; i < n; i++) lanes[i % kLanes] += value(i);
  for (int64_t width = kLanes / 2; width > 0; width /= 2)
    for (int64_t lane = 0; lane < width; lane++) lanes[lane] += lanes[lane + width];
  return lanes[0];
}

template <class T, class A>
void norm(const A* x, const A* gain, const A* bias, const A* shares, double epsilon, T* out, A* mean, A* rstd, int64_t n, int64_t h) {
  for (int64_t row = 0; row < n; row++, x += h, out += h) {
    A m = sum_of<A>(h, [&](int64_t i) { return x[i] * shares[i]; });
    A variance = sum_of<A>(h, [&](int64_t i) { return (x[i] - m) * (x[i] - m) * shares[i]; });
    A r = static_cast<A>(1) / std::sqrt(variance + static_cast<A>(epsilon));
    for (int64_t i = 0; i < h; i++) put(out[i], (x[i] - m) * r * gain[i] + bias[i]);
    mean[row] = m;
    rstd[row] = r;
  }
}

template <class T, class A>
void norm_backward(const T* d_out, const A* passed, const A* x, const A* gain, const A* shares, const A* mean, const A* rstd, A* dx,
                   A* d_gain, A* d_bias, int64_t n, int64_t h) {
  for (int64_t row = 0; row < n; row++, d_out += h, x += h, dx += h) {
    A m = mean[row], r = rstd[row];
    A sum = sum_of<A>(h, [&](int64_t i) { return get(d_out[i]) * gain[i]; });
    A dot = sum_of<A>(h, [&](int64_t i) { return get(d_out[i]) * gain[i] * ((x[i] - m) * r); });
    for (int64_t i = 0; i < h; i++) {
      A normed = (x[i] - m) * r, d = get(d_out[i]);
      d_gain[i] += d * normed;
      d_bias[i] += d;
      dx[i] = r * (d * gain[i] - (sum + normed * dot) * shares[i]);
    }
    if (passed) {
      for (int64_t i = 0; i < h; i++) dx[i] += passed[i];
      passed += h;
    }
  }
}

template <class T, class A>
void rotate(T* qkv, const A* bias, const Rotary<A>& rotary, int64_t n) {
  int64_t pairs = rotary.head_size / 2, width = rotary.n_heads * rotary.head_size;
  for (int64_t token = 0; token < n; token++) {
    int64_t position = token % rotary.n_positions;
    for (int64_t part = 0; part < 2; part++) {
      const A* cosines = rotary.tables[2 * part] + position * pairs;
      const A* sines = rotary.tables[2 * part + 1] + position * pairs;
      for (int64_t head = 0; head < rotary.n_heads; head++) {
        T* first = qkv + (3 * token + part) * width + head * rotary.head_size;
        const A* b = bias + part * width + head * rotary.head_size;
        for (int64_t i = 0; i < pairs; i++) {
          A x = get(first[i]) + b[i], y = get(first[i + pairs]) + b[i + pairs];
          A c = cosines[i], s = sines[i];
          put(first[i], x * c - y * s);
          put(first[i + pairs], y * c + x * s);
        }
      }
    }
    T* value = qkv + (3 * token + 2) * width;
    for (int64_t i = 0; i < width; i++) put(value[i], get(value[i]) + bias[2 * width + i]);
  }
}

template <class T, class A>
void rotate_backward(const T* const d_heads[3], const Rotary<A>& rotary, T* d_qkv, A* d_bias, int64_t n) {
  int64_t pairs = rotary.head_size / 2, width = rotary.n_heads * rotary.head_size;
  for (int64_t token = 0; token < n; token++) {
    int64_t position = token % rotary.n_positions;
    for (int64_t part = 0; part < 2; part++) {
      const A* cosines = rotary.tables[2 * part] + position * pairs;
      const A* sines = rotary.tables[2 * part + 1] + position * pairs;
      for (int64_t head = 0; head < rotary.n_heads; head++) {
        const T* from = d_heads[part] + token * width + head * rotary.head_size;
        T* to = d_qkv + (3 * token + part) * width + head * rotary.head_size;
        A* b = d_bias + part * width + head * rotary.head_size;
        for (int64_t i = 0; i < pairs; i++) {
          A dx = get(from[i]), dy = get(from[i + pairs]), c = cosines[i], s = sines[i];
          A x = dx * c + dy * s, y = dy * c - dx * s;
          put(to[i], x);
          put(to[i + pairs], y);
          b[i] += x;
          b[i + pairs] += y;
        }
      }
    }
    const T* from = d_heads[2] + token * width;
    T* to = d_qkv + (3 * token + 2) * width;
    for (int64_t i = 0; i < width; i++) {
      to[i] = from[i];
      d_bias[2 * width + i] += get(from[i]);
    }
  }
}

// gelu(u) = u s(2 k (u + c u^3)) with s the logistic function: the tanh form.
template <class A>
inline A logistic_of(A u) {
  const A k = static_cast<A>(0.7978845608028654), c = static_cast<A>(0.044715);
  return static_cast<A>(1) / (static_cast<A>(1) + exponential(-2 * k * (u + c * u * u * u)));
}

template <class T, class A>
void gelu(const T* up, const A* bias, T* out, int64_t n, int64_t f) {
  for (int64_t row = 0; row < n; row++, up += f, out += f)
    for (int64_t i = 0; i < f; i++) {
      A u = get(up[i]) + bias[i];
      put(out[i], u * logistic_of(u));
    }
}

template <class T, class A>
void gelu_backward(T* d_out, const T* up, const A* bias, T* out, A* d_bias, int64_t n, int64_t f) {
  const A k = static_cast<A>(0.7978845608028654), c = static_cast<A>(0.044715);
  for (int64_t row = 0; row < n; row++, d_out += f, up += f, out += f)
    for (int64_t i = 0; i < f; i++) {
      A u = get(up[i]) + bias[i], s = logistic_of(u);
      A slope = s + u * s * (1 - s) * 2 * k * (1 + 3 * c * u * u);
      A d = get(d_out[i]) * slope;
      put(out[i], u * s);
      put(d_out[i], d);
      d_bias[i] += d;
    }
}

template <class T, class A>
void residual(const A* x, const T* y, const A* bias, A* out, int64_t n, int64_t h) {
  for (int64_t row = 0; row < n; row++, x += h, y += h, out += h)
    for (int64_t i = 0; i < h; i++) out[i] = x[i] + (get(y[i]) + bias[i]);
}

template <class T, class A>
void residual_backward(const A* d_out, T* dy, A* d_bias, int64_t n, int64_t h) {
  for (int64_t row = 0; row < n; row++, d_out += h) {
    for (int64_t i = 0; i < h; i++) d_bias[i] += d_out[i];
    if (dy) {
      for (int64_t i = 0; i < h; i++) put(dy[i], d_out[i]);
      dy += h;
    }
  }
}

// Works on a row in pieces that stay in registers and the first cache.
constexpr int64_t kPiece = 256;

// The highest logit of a row, and the sum of all exponentials of their distances to it, in one pass: what was summed is scaled down when a higher
// one is met.
template <class T, class A>
A sum_of_exponentials(const T* row, int64_t v, A& highest) {
  A lanes[kLanes] = {}, piece[kPiece];
  highest = -INFINITY;
  for (int64_t start = 0; start < v; start += kPiece) {
    int64_t n = v - start < kPiece ? v - start : kPiece;
    for (int64_t i = 0; i < n; i++) piece[i] = get(row[start + i]);
    for (int64_t i = n; i < kPiece; i++) piece[i] = piece[0];
    A tops[kLanes];
    for (int64_t lane = 0; lane < kLanes; lane++) tops[lane] = piece[lane];
    for (int64_t i = kLanes; i < kPiece; i += kLanes)
      for (int64_t lane = 0; lane < kLanes; lane++) tops[lane] = piece[i + lane] > tops[lane] ? piece[i + lane] : tops[lane];
    A top = tops[0];
    for (A other : tops) top = other > top ? other : top;
    if (top > highest) {
      A shrink = start == 0 ? 0 : std::exp(highest - top);
      for (A& lane : lanes) lane *= shrink;
      highest = top;
    }
    for (int64_t i = 0; i < kPiece; i++) piece[i] = exponential(piece[i] - highest);
    for (int64_t i = n; i < kPiece; i++) piece[i] = 0;
    for (int64_t i = 0; i < kPiece; i += kLanes)
      for (int64_t lane = 0; lane < kLanes; lane++) lanes[lane] += piece[i + lane];
  }
  for (int64_t width = kLanes / 2; width > 0; width /= 2)
    for (int64_t lane = 0; lane < width; lane++) lanes[lane] += lanes[lane + width];
  return lanes[0];
}

template <class T, class A>
void cross_entropy(T* logits, const int64_t* targets, A* losses, double scale, int64_t n, int64_t v) {
  for (int64_t row = 0; row < n; row++, logits += v) {
    A highest, sum = sum_of_exponentials<T, A>(logits, v, highest);
    A target = get(logits[targets[row]]) - highest, log_sum = std::log(sum);
    losses[row] = log_sum - target;
    if (scale == 0) continue;
    A factor = static_cast<A>(scale) / sum;
    for (int64_t i = 0; i < v; i++) put(logits[i], exponential(get(logits[i]) - highest) * factor);
    put(logits[targets[row]], static_cast<A>(scale) * (std::exp(target - log_sum) - 1));
  }
}

template <class T, class A>
constexpr Kernels<T, A> table() {
  return {norm<T, A>,          norm_backward<T, A>, rotate<T, A>,   rotate_backward<T, A>,   gelu<T, A>,
          gelu_backward<T, A>, residual<T, A>,      residual_backward<T, A>, cross_entropy<T, A>};
}

}  // namespace

extern const AllKernels MOSO_KERNELS;
const AllKernels MOSO_KERNELS = {table<float, float>(), table<double, double>(), table<BFloat16, float>()};
