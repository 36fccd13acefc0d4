#pragma once
#include <cuda_runtime.h>

namespace lowrank::cuda {

// 1 / (1 + e^-x) without overflow.
template <typename A>
__device__ A sigmoid(A x) {
  const A e = exp(x >= 0 ? -x : x);
  return (x >= 0 ? 1 : e) / (1 + e);
}

}  // namespace lowrank::cuda
