#pragma once
#include "cuda/counters.h"
#include "cuda/launch.cuh"

namespace lowrank::cuda {

// Whether this block is the last of `blocks` that come to a place, whose counter is zero before and after; it sees what
// the others have written. By all threads of the block. `memory`: shared, a byte that nobody else uses meanwhile.
__device__ inline bool comes_last(unsigned* counter, unsigned blocks, unsigned char* memory) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    *memory = atomicAdd(counter, 1u) + 1 == blocks;
    if (*memory) atomicExch(counter, 0u);
  }
  __syncthreads();
  if (!*memory) return false;
  __threadfence();
  return true;
}

}  // namespace lowrank::cuda
