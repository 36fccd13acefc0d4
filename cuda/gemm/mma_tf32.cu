// The products of f32 operands on tensor cores, rounded to TF32 (10 bits of mantissa): see mma.cuh.

#include "cuda/gemm/mma.cuh"

namespace lowrank::cuda::gemm {

void run_mma_tf32(const Works& works, bool a_along_k, bool b_along_k, bool fast) {
  run_mma<float>(works, a_along_k, b_along_k, fast);
}

}  // namespace lowrank::cuda::gemm
