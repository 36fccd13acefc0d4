#pragma once
// Stands in for CUDA's header of this name where kernels run on the CPU: keywords, built-in variables, intrinsics, and
// the few runtime calls that lowrank makes. Forced into every .cu file, so that raw __shared__ never compiles silently.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "test/emulator/emulator.h"
#include "test/emulator/include/intrinsics.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __constant__
#define __restrict__ __restrict
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __shared__ LOWRANK_shared_memory_is_declared_by_SHARED_of_ptx_cuh

#define threadIdx (::lowrank::emulator::current->thread)
#define blockIdx (::lowrank::emulator::current->block)
inline const dim3& blockDim = lowrank::emulator::launched.block;
inline const dim3& gridDim = lowrank::emulator::launched.grid;
constexpr int warpSize = 32;

// ---- intrinsics
#define LOWRANK_SITE ::lowrank::emulator::Site site = ::lowrank::emulator::Site::here()

// The block-wide barrier. A macro, so that the report names the kernel's line.
inline void lowrank_syncthreads(LOWRANK_SITE) { lowrank::emulator::barrier_sync(0, 0, site); }
#define __syncthreads() lowrank_syncthreads()
inline void __syncwarp(unsigned mask = ~0u, LOWRANK_SITE) { lowrank::emulator::sync_warp(mask, site); }

template <typename T>
T lowrank_shuffle(unsigned mask, T value, lowrank::emulator::Shuffle mode, int argument, int width,
                  lowrank::emulator::Site site) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = lowrank::emulator::shuffle(mask, bits, mode, argument, width, site);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
#define LOWRANK_SHUFFLE(name, mode, type)                                                                              \
  template <typename T>                                                                                                \
  T name(unsigned mask, T value, type argument, int width = 32, LOWRANK_SITE) {                                        \
    using lowrank::emulator::Shuffle;                                                                                  \
    return lowrank_shuffle(mask, value, Shuffle::mode, int(argument), width, site);                                    \
  }
LOWRANK_SHUFFLE(__shfl_sync, Index, int)
LOWRANK_SHUFFLE(__shfl_up_sync, Up, unsigned)
LOWRANK_SHUFFLE(__shfl_xor_sync, Xor, int)
#undef LOWRANK_SHUFFLE
inline unsigned __ballot_sync(unsigned mask, bool p, LOWRANK_SITE) { return lowrank::emulator::ballot(mask, p, site); }

// redux.sync and match.any: of the lanes in the mask.
template <typename T, typename F>
T lowrank_reduce(unsigned mask, T value, F&& combine, lowrank::emulator::Site site) {
  T sum = 0;
  bool first = true;
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const T other = __shfl_sync(mask, value, lane, 32, site);
    sum = first ? other : T(combine(sum, other));
    first = false;
  }
  return sum;
}
#define LOWRANK_REDUCE(name, result)                                                                                   \
  template <typename T>                                                                                                \
  T name(unsigned mask, T value, LOWRANK_SITE) {                                                                       \
    return lowrank_reduce(                                                                                             \
        mask, value, [](T a, T b) { return result; }, site);                                                           \
  }
LOWRANK_REDUCE(__reduce_add_sync, a + b)
LOWRANK_REDUCE(__reduce_min_sync, std::min(a, b))
LOWRANK_REDUCE(__reduce_max_sync, std::max(a, b))
LOWRANK_REDUCE(__reduce_and_sync, a& b)
LOWRANK_REDUCE(__reduce_or_sync, a | b)
LOWRANK_REDUCE(__reduce_xor_sync, a ^ b)
#undef LOWRANK_REDUCE
template <typename T>
unsigned __match_any_sync(unsigned mask, T value, LOWRANK_SITE) {
  unsigned same = 0;
  for (int lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1 && __shfl_sync(mask, value, lane, 32, site) == value) same |= 1u << lane;
  return same;
}

// Memory is sequentially consistent here: a missing fence is not noticed.
inline void __threadfence() { lowrank::emulator::fence_device(); }
inline void __threadfence_block() {}

// ---- the runtime
using cudaStream_t = struct lowrank_stream*;
enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributeNonPortableClusterSizeAllowed = 14
};
enum cudaLaunchAttributeID {
  cudaLaunchAttributeClusterDimension = 4,
  cudaLaunchAttributeProgrammaticStreamSerialization = 6
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  struct {
    struct {
      unsigned x, y, z;
    } clusterDim;
    int programmaticStreamSerializationAllowed;
  } val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};

template <typename... Params, typename... Args>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Params...), Args&&... args) {
  lowrank::emulator::Grid grid{config->gridDim, config->blockDim, {}, config->dynamicSmemBytes};
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config->attrs[i];
    const auto& cluster = attribute.val.clusterDim;
    if (attribute.id == cudaLaunchAttributeClusterDimension) grid.cluster = dim3(cluster.x, cluster.y, cluster.z);
    else grid.overlaps = attribute.val.programmaticStreamSerializationAllowed != 0;
  }
  auto body = [&] { kernel(Params(args)...); };
  lowrank::emulator::run(
      grid, [](void* call) { (*static_cast<decltype(body)*>(call))(); }, &body);
  return cudaSuccess;
}
template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, cudaFuncAttribute, int) {
  return cudaSuccess;
}
template <typename T>
cudaError_t cudaMalloc(T** data, size_t bytes) {
  *data = static_cast<T*>(lowrank::emulator::allocate(bytes));
  return *data ? cudaSuccess : cudaErrorMemoryAllocation;
}
inline cudaError_t cudaFree(void* data) {
  lowrank::emulator::release(data);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  return cudaMemcpy(to, from, bytes, kind);
}
inline cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  return cudaMemset(to, value, bytes);
}
// Events hold the time at which they were recorded: all work before them is done by then.
using cudaEvent_t = struct lowrank_event*;
struct lowrank_event {
  double seconds;
};
inline cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new lowrank_event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t = nullptr) {
  event->seconds = lowrank::emulator::seconds();
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to) {
  *ms = float(1000 * (to->seconds - from->seconds));
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
// __device__ and __constant__ variables are variables of the process.
template <typename T>
cudaError_t cudaMemcpyToSymbolAsync(T& symbol, const void* from, size_t bytes, size_t offset, cudaMemcpyKind,
                                    cudaStream_t) {
  std::memcpy(reinterpret_cast<char*>(&symbol) + offset, from, bytes);
  return cudaSuccess;
}
template <typename T>
cudaError_t cudaMemcpyFromSymbolAsync(void* to, const T& symbol, size_t bytes, size_t offset, cudaMemcpyKind,
                                      cudaStream_t) {
  std::memcpy(to, reinterpret_cast<const char*>(&symbol) + offset, bytes);
  return cudaSuccess;
}
template <typename T>
cudaError_t cudaGetSymbolAddress(void** address, const T& symbol) {
  *address = const_cast<void*>(static_cast<const void*>(&symbol));
  return cudaSuccess;
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline const char* cudaGetErrorName(cudaError_t error) { return error ? "cudaErrorMemoryAllocation" : "cudaSuccess"; }
inline const char* cudaGetErrorString(cudaError_t error) { return error ? "out of memory" : "no error"; }
