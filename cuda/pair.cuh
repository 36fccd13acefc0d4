#pragma once
// Two neighbouring elements of half precision in a register, the lower one first: how operands of tensor cores, and
// their results on the way out, are laid out.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace lowrank::cuda {

// T: __nv_bfloat16, __half.
template <typename T>
__device__ uint32_t pack_pair(float low, float high) {
  if constexpr (std::is_same_v<T, __half>) {
    const __half2 pair = __floats2half2_rn(low, high);
    return reinterpret_cast<const uint32_t&>(pair);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return reinterpret_cast<const uint32_t&>(pair);
  }
}

}  // namespace lowrank::cuda
