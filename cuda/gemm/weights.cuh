#pragma once
// Operands of products from tensors: as they are where they have the product's type, else converted into scratch.

#include "cuda/gemm/product.h"
#include "cuda/launch.cuh"

namespace lowrank::cuda::gemm {

// What a product beside `activations` is computed in: half precision in itself, f32 as `compute` says, f64 in f64.
inline DType product_type(DType activations, Compute compute) {
  return activations == DType::F32 && compute == Compute::BF16 ? DType::BF16 : activations;
}

// The matrix x in `type`: f32, bf16 or f16 as any of them, I8 or NF4 as any float. A converted one lies in
// `space`, its lines padded to a multiple of 16 bytes, so that products of any shape take the fast loads; those of
// a quantised weight are as long as they are.
Operand operand_in(const View& x, DType type, bool along_k, Scratch& space);

}  // namespace lowrank::cuda::gemm
