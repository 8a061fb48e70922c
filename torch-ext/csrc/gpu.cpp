// kernels.h for GPUs: launches the kernels of gpu.cu. NVRTC compiles them for the GPU that is there, when the first is launched; it comes
// with libtorch's CUDA half. NVRTC and the driver are called through pointers, as their headers declare them: on machines without a GPU
// there is neither the one nor the other.
#include "guarded.h"
#include "kernels.h"

#include <ATen/Context.h>
#include <ATen/ops/empty.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <mutex>

namespace {

// gpu.cu; set once by moso_load_cuda, before any tensor is made.
std::string source;

template <class... Arguments>
auto function(const char* name) {
  auto found = reinterpret_cast<int (*)(Arguments...)>(dlsym(RTLD_DEFAULT, name));
  if (!found) throw std::runtime_error(std::string("the CUDA driver or NVRTC has no function ") + name);
  return found;
}

template <class... Arguments>
void must(const char* name, Arguments... arguments) {
  int code = function<Arguments...>(name)(arguments...);
  if (code) throw std::runtime_error(std::string(name) + " failed with code " + std::to_string(code));
}

enum Kernel { kNorm, kNormBackward, kAddParts, kRotate, kRotateBackward, kGelu, kGeluBackward, kResidual, kResidualBackward, kCrossEntropy, kKernels };
const char* const kNames[kKernels] = {"moso_norm", "moso_norm_backward", "moso_add_parts", "moso_rotate", "moso_rotate_backward", "moso_gelu", "moso_gelu_backward", "moso_residual", "moso_residual_backward", "moso_cross_entropy"};

// The compiled kernels for one T and one V.
struct Module {
  void* context = nullptr;
  void* functions[kKernels];

  Module(const char* type, int n_at_once) {
    must("cuCtxGetCurrent", &context);
    int device = 0, major = 0, minor = 0;
    must("cuCtxGetDevice", &device);
    must("cuDeviceGetAttribute", &major, 75, device);
    must("cuDeviceGetAttribute", &minor, 76, device);
    std::string options[] = {"--gpu-architecture=sm_" + std::to_string(10 * major + minor), "--std=c++17", std::string("-DMOSO_T=") + type,
                             "-DMOSO_V=" + std::to_string(n_at_once)};
    auto cubin = compiled({options[0].c_str(), options[1].c_str(), options[2].c_str(), options[3].c_str()});
    void* module = nullptr;
    must("cuModuleLoadData", &module, static_cast<const void*>(cubin.data()));
    for (int kernel = 0; kernel < kKernels; kernel++) must("cuModuleGetFunction", &functions[kernel], module, kNames[kernel]);
  }

  static std::vector<char> compiled(std::vector<const char*> options) {
    void* program = nullptr;
    const char* const* none = nullptr;
    must("nvrtcCreateProgram", &program, source.c_str(), "gpu.cu", 0, none, none);
    if (function<void*, int, const char* const*>("nvrtcCompileProgram")(program, static_cast<int>(options.size()), options.data())) {
      size_t length = 0;
      must("nvrtcGetProgramLogSize", program, &length);
      std::vector<char> log(length + 1);
      must("nvrtcGetProgramLog", program, log.data());
      throw std::runtime_error(std::string("gpu.cu does not compile for this GPU: ") + log.data());
    }
    size_t length = 0;
    must("nvrtcGetCUBINSize", program, &length);
    std::vector<char> cubin(length);
    must("nvrtcGetCUBIN", program, cubin.data());
    must("nvrtcDestroyProgram", &program);
    return cubin;
  }
};

template <class T>
const Module& module_of(bool is_wide) {
  static std::mutex lock;
  static std::unique_ptr<Module> modules[2];
  std::lock_guard<std::mutex> alone(lock);
  auto& module = modules[is_wide];
  if (!module) module = std::make_unique<Module>(std::is_same_v<T, BFloat16> ? "bf16" : "float", is_wide ? 4 : 1);
  return *module;
}

struct Size {
  unsigned x, y = 1;
};

// Neighbours that a thread works on, in rows of that width.
int64_t neighbours(int64_t width) { return width % 4 == 0 ? 4 : 1; }

// Queues a kernel behind all work of libtorch, which has one stream here, the driver's default one. Arguments are as gpu.cu declares them.
template <class T, class... Arguments>
void launch(Kernel kernel, int64_t width, Size grid, Size block, size_t shared, Arguments... arguments) {
  const Module& module = module_of<T>(neighbours(width) == 4);
  static const auto current = function<void**>("cuCtxGetCurrent");
  static const auto launch_kernel = function<void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**>("cuLaunchKernel");
  void* context = nullptr;
  // A thread that has not yet asked anything of the GPU has none.
  if (current(&context) || !context) must("cuCtxSetCurrent", module.context);
  // Attribute 8 is the dynamic shared memory of a block; more than this must be asked for.
  if (shared > 48 << 10) must("cuFuncSetAttribute", module.functions[kernel], 8, static_cast<int>(shared));
  void* pointers[] = {&arguments...};
  int code = launch_kernel(module.functions[kernel], grid.x, grid.y, 1, block.x, block.y, 1, static_cast<unsigned>(shared), nullptr, pointers, nullptr);
  if (code) throw std::runtime_error(std::string("the kernel ") + kNames[kernel] + " cannot be launched, code " + std::to_string(code));
}

unsigned share(int64_t n, int64_t size) { return static_cast<unsigned>((n + size - 1) / size); }

// Rows that a block of the kernels with sums over rows goes through.
constexpr int kRows = 128;

// Blocks of norm_backward at most.
constexpr int64_t kNormParts = 512;

at::Tensor parts_of(int64_t n, int64_t width) { return at::empty({n, width}, at::TensorOptions(at::kCUDA).dtype(at::kFloat)); }

template <class T>
void add_parts(const float* parts, int64_t n, int64_t stride, int64_t width, float* out) {
  launch<T>(kAddParts, 4, {share(width, 32)}, {32, 32}, 0, parts, static_cast<int>(n), static_cast<int>(stride), static_cast<int>(width), out);
}

template <class T>
void norm(const float* x, const float* gain, const float* bias, const float* shares, double epsilon, T* out, float* mean, float* rstd, int64_t n,
          int64_t h) {
  if (n == 0) return;
  launch<T>(kNorm, h, {static_cast<unsigned>(n)}, {256}, 0, x, gain, bias, shares, static_cast<float>(epsilon), out, mean, rstd, static_cast<int>(h));
}

template <class T>
void norm_backward(const T* d_out, const float* passed, const float* x, const float* gain, const float* shares, const float* mean,
                   const float* rstd, float* dx, float* d_gain, float* d_bias, int64_t n, int64_t h) {
  if (n == 0) return;
  int64_t n_parts = std::min(n, kNormParts);
  auto parts = parts_of(n_parts, 2 * h);
  auto place = static_cast<float*>(parts.data_ptr());
  launch<T>(kNormBackward, h, {static_cast<unsigned>(n_parts)}, {256}, 8 * h, d_out, passed, x, gain, shares, mean, rstd, dx, place,
            static_cast<int>(n), static_cast<int>(h));
  add_parts<T>(place, n_parts, 2 * h, h, d_gain);
  add_parts<T>(place + h, n_parts, 2 * h, h, d_bias);
}

template <class T>
void rotate(T* qkv, const float* bias, const Rotary<float>& rotary, int64_t n) {
  if (n == 0) return;
  int64_t n_pairs = rotary.head_size / 2, n_table = (rotary.tables[1] - rotary.tables[0]) / n_pairs;
  int64_t n_threads = n * 3 * rotary.n_heads * n_pairs / neighbours(n_pairs);
  launch<T>(kRotate, n_pairs, {share(n_threads, 256)}, {256}, 0, qkv, bias, rotary.tables[0], static_cast<int>(n_table),
            static_cast<int>(rotary.n_positions), static_cast<int>(rotary.n_heads), static_cast<int>(n_pairs), static_cast<int>(n));
}

template <class T>
void rotate_backward(const T* const d_heads[3], const Rotary<float>& rotary, T* d_qkv, float* d_bias, int64_t n) {
  if (n == 0) return;
  int64_t n_pairs = rotary.head_size / 2, n_table = (rotary.tables[1] - rotary.tables[0]) / n_pairs;
  int64_t width = 3 * rotary.n_heads * rotary.head_size, n_threads = width / 2 / neighbours(n_pairs);
  auto parts = parts_of(share(n, kRows), width);
  auto place = static_cast<float*>(parts.data_ptr());
  launch<T>(kRotateBackward, n_pairs, {share(n_threads, 32), share(n, kRows)}, {32, 8}, 0, d_heads[0], d_heads[1], d_heads[2],
            rotary.tables[0], static_cast<int>(n_table), static_cast<int>(rotary.n_positions), static_cast<int>(rotary.n_heads),
            static_cast<int>(n_pairs), d_qkv, place, static_cast<int>(n), kRows);
  add_parts<T>(place, share(n, kRows), width, width, d_bias);
}

template <class T>
void gelu(const T* up, const float* bias, T* out, int64_t n, int64_t f) {
  if (n == 0) return;
  long long size = n * f;
  launch<T>(kGelu, f, {share(size, 256 * neighbours(f))}, {256}, 0, up, bias, out, size, static_cast<int>(f));
}

template <class T>
void gelu_backward(T* d_out, const T* up, const float* bias, T* out, float* d_bias, int64_t n, int64_t f) {
  if (n == 0) return;
  auto parts = parts_of(share(n, kRows), f);
  auto place = static_cast<float*>(parts.data_ptr());
  launch<T>(kGeluBackward, f, {share(f, 32 * neighbours(f)), share(n, kRows)}, {32, 8}, 0, d_out, up, bias, out, place,
            static_cast<int>(n), static_cast<int>(f), kRows);
  add_parts<T>(place, share(n, kRows), f, f, d_bias);
}

template <class T>
void residual(const float* x, const T* y, const float* bias, float* out, int64_t n, int64_t h) {
  if (n == 0) return;
  long long size = n * h;
  launch<T>(kResidual, h, {share(size, 256 * neighbours(h))}, {256}, 0, x, y, bias, out, size, static_cast<int>(h));
}

template <class T>
void residual_backward(const float* d_out, T* dy, float* d_bias, int64_t n, int64_t h) {
  if (n == 0) return;
  auto parts = parts_of(share(n, kRows), h);
  auto place = static_cast<float*>(parts.data_ptr());
  launch<T>(kResidualBackward, h, {share(h, 32 * neighbours(h)), share(n, kRows)}, {32, 8}, 0, d_out, dy, place, static_cast<int>(n),
            static_cast<int>(h), kRows);
  add_parts<T>(place, share(n, kRows), h, h, d_bias);
}

template <class T>
void cross_entropy(T* logits, const int64_t* targets, float* losses, double scale, int64_t n, int64_t v) {
  if (n == 0) return;
  launch<T>(kCrossEntropy, v, {static_cast<unsigned>(n)}, {512}, 0, logits, targets, losses, static_cast<float>(scale), static_cast<int>(v));
}

template <class T>
constexpr Kernels<T, float> table() {
  return {norm<T>, norm_backward<T>, rotate<T>, rotate_backward<T>, gelu<T>, gelu_backward<T>, residual<T>, residual_backward<T>, cross_entropy<T>};
}

}  // namespace

extern const AllKernels moso_kernels_gpu;
const AllKernels moso_kernels_gpu = {table<float>(), {}, table<BFloat16>()};

extern "C" {

// Nothing of ours calls into libtorch_cuda, so linkers leave it out; its kernels register themselves when it is loaded. `gpu_source` is
// gpu.cu.
int moso_load_cuda(const char* gpu_source) {
  return guarded([&] {
    source = gpu_source;
    // The same input gives the same bits. cuBLAS wants a workspace of fixed size for that; memory that is about to be overwritten need
    // not be filled first.
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
    at::globalContext().setDeterministicFillUninitializedMemory(false);
    if (!dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL)) throw std::runtime_error(dlerror());
    // What it needs are NVRTC and the driver.
    if (!dlopen("libcaffe2_nvrtc.so", RTLD_NOW | RTLD_GLOBAL)) throw std::runtime_error(dlerror());
  });
}

}
