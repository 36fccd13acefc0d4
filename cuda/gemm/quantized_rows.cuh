#pragma once
// Products of few rows with a weight that is stored as I8 or NF4.

#include "cuda/gemm/product.h"

namespace lowrank::cuda::gemm {

// Whether multiply_quantized() takes these: at most 64 rows of bf16 or f16 (32 where a block has less than 137 KB of
// shared memory), of a multiple of 64 columns. Beyond 64, on an H100, converting the weight first costs less than what
// this kernel repeats.
bool suits_quantized(const View& x, const View& w);

// The product without segments, but x w^T: p.y = x w^T + slab + bias + residual, with at most one slab, of operands
// along k without dropout.
void multiply_quantized(const Product& p, const View& x, const View& w);

}  // namespace lowrank::cuda::gemm
