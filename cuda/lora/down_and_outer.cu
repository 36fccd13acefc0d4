// t = dy b and db = dy^T s from one pass over dy: see outer.cuh.

#include "cuda/lora/outer.cuh"

namespace lowrank::cuda::lora {

// Sums of t are 8 r bytes per 512 of dy, written and read again: past r = 32 a second pass over dy is cheaper.
bool fused(int64_t rank) { return rank <= 32; }
int64_t fused_pieces(int64_t columns) { return ceil_div(columns, outer_tile::COLUMNS); }

void down_and_outer(const Thins& thins) { run_outer<true>(thins); }

}  // namespace lowrank::cuda::lora
