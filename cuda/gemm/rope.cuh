#pragma once
// Product::rope outside of a tile's epilogue. Where sums of pieces of K are added up in a kernel of their own, rows are
// turned there, before they are rounded; else where they lie, once they are.

#include "cuda/gemm/product.h"
#include "cuda/launch.cuh"

namespace lowrank::cuda::gemm {

// Whether add_rotated takes it: heads of an odd number of columns it doesn't.
inline bool adds_rotated(const Rope& rope) { return rope && rope.head_dim % 2 == 0; }

// y = bias + sum over pieces of partial[pieces, m, pitch], in their order, turned: product.y, of f32, bf16 or f16.
void add_rotated(const Product& product, const float* partial, int pieces, int64_t pitch);

// y turned in place, as it is.
void rotate_rounded(const Product& product);

}  // namespace lowrank::cuda::gemm
