// t = dy b and db = dy^T s from one pass over dy: see outer.cuh.

#include "cuda/lora/outer.cuh"

namespace lowrank::cuda::lora {

// Sums of t are 8 r bytes per 512 of dy, written and read again: past r = 32 a second pass over dy is cheaper.
bool fused(int64_t rank) { return rank <= 32; }
int64_t fused_pieces(int64_t columns) { return ceil_div(columns, outer_tile::COLUMNS); }

void down_and_outer(const Thin& thin) {
  const Outer p = outer_of(thin);
  const int64_t pieces = outer_pieces(p.rows, p.columns, p.rank);
  if (p.rank <= 16) run_outer<2, true>(p, thin.z.dtype, pieces);
  else run_outer<4, true>(p, thin.z.dtype, pieces);
}

}  // namespace lowrank::cuda::lora
