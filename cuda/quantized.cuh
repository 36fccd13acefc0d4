#pragma once
// Reading weights that are stored as I8 or NF4: core/quantized.h has the layout and the formulas.

#include "core/quantized.h"
#include "cuda/launch.cuh"

namespace lowrank::cuda {

__device__ const float NF4_MAP[16] = {LOWRANK_NF4_MAP};
__device__ const float DYNAMIC_MAP[256] = {LOWRANK_DYNAMIC_MAP};

// Two roundings, as on the CPU: no fused multiply-add.
__device__ inline float absmax_of(const Nf4Weight& w, int64_t block) {
  const float scaled = __fmul_rn(__ldg(DYNAMIC_MAP + w.scales[block]), w.nested[block / NF4_NESTED]);
  return __fadd_rn(scaled, *w.offset);
}

}  // namespace lowrank::cuda
