#pragma once
// How multiply_hopper cuts y into tiles, and K.

#include "cuda/gemm/product.h"

namespace lowrank::cuda::gemm {

// Single: tiles of 128 x 128, each by one block. Paired: tiles of 256 x 256, each by a cluster of two blocks, which
// read the columns' operand once for both.
enum class HopperTile { Single, Paired };

// `splits`: how many clusters share a tile, each with a stretch of K. Their sums are added up in order by a second
// kernel, so y has the same bits every time.
struct HopperCut {
  HopperTile tile = HopperTile::Single;
  int splits = 1;
};

// The fastest by estimate.
HopperCut hopper_cut(const Product& product);
void multiply_hopper(const Product& product, HopperCut cut);

}  // namespace lowrank::cuda::gemm
