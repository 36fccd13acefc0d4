#pragma once
// How the tiles of a product are cut into pieces. No cut changes a bit (gemm.cpp), so it may look at threads().
#include <unistd.h>

#include <algorithm>

#include "cpu/parallel.h"

namespace lowrank::cpu::gemm {

constexpr int64_t PIECE_FLOPS = 4 << 20;  // below, waking a thread costs more than it brings

inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }
// Start of part i when [0, total) is cut into `parts`.
inline int64_t part(int64_t total, int64_t i, int64_t parts) { return total * i / parts; }

// Bytes of packed rows that stay in the L2 cache beside a panel of b: 448 KB of 1 MB.
inline int64_t packed_a() {
  static const int64_t bytes = [] {
#ifdef _SC_LEVEL2_CACHE_SIZE
    const int64_t cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
#else
    const int64_t cache = 0;
#endif
    return std::clamp<int64_t>(cache / 16 * 7, 448 << 10, 896 << 10);
  }();
  return bytes;
}

struct Grid {
  int64_t strips = 1, cuts = 1;  // of the rows and of the columns
};

// What is to be cut, in panels of the kernel's height and width.
struct Tiles {
  int64_t rows, columns;
  int64_t most_rows;    // of a strip: they are packed together
  int64_t most_pieces;  // more cost more than they bring
  // Packing a panel of rows, and bringing a panel of columns near, in units of one tile's arithmetic.
  double pack, load;
};

namespace detail {

// What the last thread is done after, in tiles: full rounds of pieces, and, since pieces never take equally long, half
// a piece.
inline double duration(const Tiles& tiles, const Grid& grid, int threads) {
  const double rows = double(tiles.rows) / double(grid.strips), columns = double(tiles.columns) / double(grid.cuts);
  const double piece = rows * (columns + tiles.pack) + columns * tiles.load;
  const double rounds = double(ceil_div(grid.strips * grid.cuts, threads));
  return piece * (threads > 1 ? rounds + 0.5 : rounds);
}

}  // namespace detail

// The cut that is done first, of those that give every thread about 1, 2, 3 ... pieces.
inline Grid cut(const Tiles& tiles, int threads) {
  const int64_t least = ceil_div(tiles.rows, std::max<int64_t>(1, tiles.most_rows));
  Grid best = {least, 1};
  double shortest = detail::duration(tiles, best, threads);
  const int64_t most_cuts = std::max<int64_t>(1, tiles.columns / 4);  // of 4 panels at least, to pay for packing rows
  for (int64_t cuts = 1; cuts <= most_cuts; ++cuts)
    for (const int64_t rounds : {1, 2, 3, 4, 6, 8}) {
      const Grid grid = {std::clamp(rounds * threads / cuts, least, std::max(least, tiles.rows)), cuts};
      if (grid.strips * cuts > std::max(least, tiles.most_pieces)) break;
      const double time = detail::duration(tiles, grid, threads);
      if (time < 0.99 * shortest) shortest = time, best = grid;
    }
  return best;
}

}  // namespace lowrank::cpu::gemm
