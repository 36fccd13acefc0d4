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

// The fastest by estimate, of all products as one.
HopperCut hopper_cut(const std::vector<Product>& products);
// Several: with splits, one after the other.
void multiply_hopper(const std::vector<Product>& products, HopperCut cut);

}  // namespace lowrank::cuda::gemm
