// D = drop(z)^T f alone: see outer.cuh.

#include "cuda/lora/outer.cuh"

namespace lowrank::cuda::lora {

// About 264 blocks, two for each multiprocessor of an H100, and at least 64 rows each.
int64_t outer_pieces(int64_t rows, int64_t columns, int64_t rank) {
  const int64_t blocks = std::max<int64_t>(1, ceil_div(columns, outer_tile::COLUMNS) * ceil_div(rank, 32));
  return std::clamp<int64_t>(ceil_div(264, blocks), 1, std::clamp<int64_t>(ceil_div(rows, 64), 1, 65535));
}

Outer outer_of(const Thin& thin) {
  const View& z = thin.z;
  const int rank = thin.sites.rank();
  const int64_t pieces = outer_pieces(z.rows(), z.cols(), rank);
  Outer p = {};
  p.z = z.data;
  p.rows = z.rows(), p.columns = z.cols(), p.rank = rank;
  p.wide = is_wide(z);
  p.sites = thin.sites;
  p.f = thin.outer;
  p.low = thin.low;
  p.sum = thin.outer_sum;
  p.sum_c = thin.across ? 1 : rank, p.sum_j = thin.across ? z.cols() : 1;
  p.b = thin.down;
  p.down = thin.down_sum;
  p.stretch = padded(ceil_div(z.rows(), pieces), outer_tile::ROWS);
  p.pieces = unsigned(pieces);
  return p;
}

void outer(const Thins& thins) { run_outer<false>(thins); }

}  // namespace lowrank::cuda::lora
