// The products of bf16 operands on tensor cores: see mma.cuh.

#include "cuda/gemm/mma.cuh"

namespace lowrank::cuda::gemm {

void run_mma_bf16(const Works& works, bool a_along_k, bool b_along_k, bool fast) {
  run_mma<__nv_bfloat16>(works, a_along_k, b_along_k, fast);
}

}  // namespace lowrank::cuda::gemm
