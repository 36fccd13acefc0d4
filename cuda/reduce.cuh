#pragma once
// Reductions within a warp and a block, in fixed order: the same bits every time.

#include "cuda/launch.cuh"
#include "cuda/ptx/warp.cuh"

namespace lowrank::cuda {

struct Sum {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
// NaN wins, so that it reaches whoever reads the result.
struct Maximum {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return b > a || b != b ? b : a;
  }
};

// Over `Lanes` neighbouring lanes, a power of two; each receives the result.
template <int Lanes = 32, typename Op, typename T>
__device__ T reduce_warp(T value, Op op) {
  for (int lanes = Lanes / 2; lanes > 0; lanes /= 2) value = op(value, ptx::shuffle_xor(value, lanes));
  return value;
}

// Over a block of `Threads`, a multiple of 32; each receives the result. `partial` [Threads / 32] is shared memory, and
// may be used again after the next barrier.
template <int Threads, typename Op, typename T>
__device__ T reduce_block(T value, T* partial, Op op) {
  constexpr int WARPS = Threads / 32;
  value = reduce_warp(value, op);
  if constexpr (WARPS > 1) {
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    value = partial[0];
    for (int warp = 1; warp < WARPS; ++warp) value = op(value, partial[warp]);
  }
  return value;
}

}  // namespace lowrank::cuda
