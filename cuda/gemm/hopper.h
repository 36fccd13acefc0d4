#pragma once
// How multiply_hopper cuts y into tiles.

#include "cuda/gemm/product.h"

namespace lowrank::cuda::gemm {

// Single: tiles of 128 x 128, each by one block. Paired: tiles of 256 x 256, each by a cluster of two blocks, which
// read the columns' operand once for both.
enum class HopperTile { Single, Paired };

// The faster one by count of waves.
HopperTile hopper_tile(int64_t m, int64_t n);
void multiply_hopper(const Product& product, HopperTile tile);

}  // namespace lowrank::cuda::gemm
