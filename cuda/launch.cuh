#pragma once
// What every kernel file shares: launching, shared variables, dispatch on the element type, 16-byte packs.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "core/kernels.h"
#include "cuda/array.h"
#include "cuda/scratch.h"

// Variables of a block: SHARED(sums, Array<float, 4, 32>). The dynamic part: SHARED_DYNAMIC(bytes), an unsigned char*
// that begins at a multiple of 1024.
#ifdef __CUDACC__
#define SHARED(name, ...)                                                                                              \
  __shared__ __VA_ARGS__ name##_store;                                                                                 \
  auto& name = name##_store
#define SHARED_DYNAMIC(name)                                                                                           \
  extern __shared__ __align__(1024) unsigned char lowrank_shared_raw[];                                                \
  unsigned char* name = lowrank_shared_raw
#else
#define SHARED(name, ...) auto& name = ::lowrank::emulator::static_variable<__VA_ARGS__, decltype([] {})>()
#define SHARED_DYNAMIC(name) auto* name = static_cast<unsigned char*>(::lowrank::emulator::dynamic_shared())
#endif

namespace lowrank::cuda {

// The stream of the queue whose thread this is. Throws before enter().
cudaStream_t stream();

// Throws ERR_CUDA with the error's name, its text and, where there is one, the cure.
void check_cuda(cudaError_t error, const char* call);

// Of the queue's device.
struct Properties {
  int multiprocessors = 0;
  int capability = 0;        // 10 * major + minor
  size_t shared_block = 0;   // dynamic shared memory a block may have, bytes
  size_t l2 = 0;             // bytes
  bool hopper_code = false;  // whether this build has code for sm_90a, and the device is one
};
const Properties& properties();

// Whether a device of capability 9.0 finds code for sm_90a in this build; without it hopper*.cu are traps.
bool has_hopper_code(cudaStream_t stream);
// Whether kernels for sm_90a are used: where there is code, unless LOWRANK_CUDA_ISA is `portable`. Tests switch.
bool hopper();
void allow_hopper(bool allowed);

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// a / b of sizes and indices. GPUs have no integer division: of 64 bits it takes three times the instructions of 32.
__host__ __device__ inline int64_t divide(int64_t a, int64_t b) {
  return (a | b) >> 32 ? a / b : int64_t(uint32_t(a) / uint32_t(b));
}

// Where a kernel runs. `shared`: bytes of dynamic shared memory; cluster: blocks of one, sm_90 and later, as is
// `overlaps`: its blocks may begin while the kernels ahead run (programmatic dependent launch), so each thread begins
// with ptx::wait_for_kernels(); the emulator holds it to that.
struct Launch {
  dim3 grid, block;
  size_t shared = 0;
  unsigned cluster = 1;
  bool overlaps = false;
};

// Whether launches overlap that may: unless LOWRANK_CUDA_OVERLAP is 0.
bool overlaps_kernels();

// Lets a kernel have that much dynamic shared memory where, with its static part, it is more than 48 KB. Asked of the
// driver once a kernel and device.
void allow_shared(const void* kernel, size_t bytes);

// Remembers a launch for the message of a later fault.
void note_launch(const void* kernel, const Launch& launch);

// The only place that launches. Nothing runs for an empty grid.
template <typename... Params, typename... Args>
void launch_on(cudaStream_t stream, void (*kernel)(Params...), const Launch& shape, Args... args) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared;
  config.stream = stream;
  cudaLaunchAttribute attributes[2];
  config.attrs = attributes;
  if (shape.cluster > 1) {
    cudaLaunchAttribute& cluster = attributes[config.numAttrs++];
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {shape.cluster, 1, 1};
  }
  if (shape.overlaps && overlaps_kernels()) {
    cudaLaunchAttribute& overlap = attributes[config.numAttrs++];
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
  }
  if (shape.shared > 0) allow_shared(reinterpret_cast<const void*>(kernel), shape.shared);
  check_cuda(cudaLaunchKernelEx(&config, kernel, Params(args)...), "launch");
}

// On the queue's stream: launch(kernel, {grid, block, shared}, arguments…).
template <typename... Params, typename... Args>
void launch(void (*kernel)(Params...), const Launch& shape, Args... args) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  if (is_measuring()) return count_launch();
  note_launch(reinterpret_cast<const void*>(kernel), shape);
  launch_on(stream(), kernel, shape, args...);
}

// Of one dimension: launch(kernel, blocks, threads, arguments…).
template <typename... Params, typename... Args>
void launch(void (*kernel)(Params...), int64_t blocks, int threads, Args... args) {
  check(blocks <= INT32_MAX, Code::Unsupported, "a grid of ", blocks, " blocks; CUDA allows ", INT32_MAX);
  launch(kernel, Launch{dim3(unsigned(blocks)), dim3(unsigned(threads))}, args...);
}

// Calls f with a value of the view's element type: dispatch(x, [&](auto zero) { using T = decltype(zero); … }).
template <typename F>
void dispatch(const View& x, F&& f) {
  switch (x.dtype) {
    case DType::F32: return f(float{});
    case DType::F64: return f(double{});
    case DType::BF16: return f(__nv_bfloat16{});
    case DType::F16: return f(__half{});
    default: throw Error(Code::DType, std::string("no CUDA kernel for ") + name_of(x.dtype));
  }
}

// The same for a view of half precision alone.
template <typename F>
void dispatch_half(const View& x, F&& f) {
  if (x.dtype == DType::F16) return f(__half{});
  check(x.dtype == DType::BF16, Code::DType, "no tensor-core kernel for ", name_of(x.dtype));
  return f(__nv_bfloat16{});
}

// The type of arithmetic: f32, except for f64 storage.
template <typename T>
struct Accumulate {
  using type = float;
};
template <>
struct Accumulate<double> {
  using type = double;
};
template <typename T>
using Arithmetic = typename Accumulate<T>::type;

// N neighbouring elements, moved in one transaction.
template <typename T, int N>
struct alignas(N * sizeof(T)) Pack {
  T lane[N];
};

template <typename T>
constexpr int PACK = int(16 / sizeof(T));

template <int N, typename T>
__device__ Pack<T, N> load(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <typename T, int N>
__device__ void store(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

inline bool aligned(const View& x) { return reinterpret_cast<uintptr_t>(x.data) % 16 == 0; }

// Calls f with the widest pack that all views allow, as a constant: 16 bytes where each begins at a multiple of 16,
// else one element.
template <typename T, typename F, typename... Views>
void with_pack(F&& f, const Views&... views) {
  if ((aligned(views) && ...)) f(std::integral_constant<int, PACK<T>>{});
  else f(std::integral_constant<int, 1>{});
}

}  // namespace lowrank::cuda
