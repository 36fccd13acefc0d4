#pragma once
// D = drop(z)^T f for a big z of half precision and a factor of rank r <= 32 a block, on tensor cores: da^T = x^T t of
// all adapters that share x, and db = dy^T s; the latter with t = dy b from the same pass over dy.
//
// A block has 256 columns, each of its 4 warps 64 of them, and a stretch of rows; D stays in registers while tiles of
// 16 rows come through four stages of cp.async. Each block writes its D; the last one of these columns adds them up,
// in fixed order. With `down` the block also keeps its 256 columns of b in shared memory: the warps' sums of t meet
// there, in their order, and are written for every tile. Masks are made where a lane holds the 16 columns of one call
// of Philox, as operand a of mma over rows; the masked tile goes through a buffer of the warp's own, since D needs it
// transposed.
//
// Passes: z once (blocks that differ only in the piece of the rank meet in L2), D [pieces, columns, r] and t
// [columns / 256, rows, r] in f32 written once. Bound by HBM: at M 8192, K = N = 4096, r 16, da reads 67 MB and writes
// 4 MB, 24 us at 3 TB/s; dy with both reads 67 MB and writes 13 MB, 27 us, and the last blocks find them in L2.

#include "cuda/lora/tile.cuh"

namespace lowrank::cuda::lora {

struct Outer {
  static constexpr int MOST_CASTS = 12;
  const void* z;
  int64_t rows, columns;
  bool wide;
  Sites sites;
  Factor f;    // c: rows of z
  float* sum;  // [pieces], element (c, j) at c * sum_c + j * sum_j
  int64_t sum_c, sum_j;
  Factor b;     // c: columns of z, with `down`
  float* down;  // [columns / 256][rows, rank]
  bool low;
  int rank;
  int64_t stretch;  // rows of a block, a multiple of 16
  unsigned pieces, blocks;
  Finish finish_sum, finish_down;
};

namespace outer_tile {

constexpr int WARPS = 4, THREADS = 32 * WARPS, ROWS = 16, STAGES = 4;
constexpr int COLUMNS = WARPS * LINE;
constexpr int WARP_BYTES = ROWS * LINE_BYTES, Z_BYTES = WARPS * WARP_BYTES;
template <int Tiles>
constexpr int F_BYTES = ROWS * Tiles * 16;  // of one part
template <int Tiles>
constexpr int STAGE_BYTES = Z_BYTES + 2 * F_BYTES<Tiles>;
template <int Tiles>
constexpr int B_BYTES = WARPS * Tiles * 8 * LINE_BYTES;  // of one part
template <int Tiles>
constexpr int T_FLOATS = WARPS * ROWS * Tiles * 8;  // of one of two buffers
template <int Tiles, bool WithDown>
constexpr size_t SHARED_BYTES =
    STAGES * STAGE_BYTES<Tiles> + (WithDown ? 2 * B_BYTES<Tiles> + 2 * 4 * T_FLOATS<Tiles> : Z_BYTES);

}  // namespace outer_tile

template <typename T, int Tiles, bool WithDown>
struct OuterBlock {
  static constexpr int STAGES = outer_tile::STAGES, ROWS = outer_tile::ROWS, PARTS = Tiles;

  const Outer& p;
  unsigned char* memory;
  int first;               // column of the rank
  int64_t column;          // of the block
  int64_t row, end;        // of the stretch
  float sum[4][Tiles][4];  // 16 columns of z each

  __device__ unsigned char* tile(int64_t at) const { return memory + at % STAGES * outer_tile::STAGE_BYTES<Tiles>; }
  __device__ unsigned char* behind() const { return memory + STAGES * outer_tile::STAGE_BYTES<Tiles>; }
  __device__ float* sums_of_t(int64_t at) const {
    return reinterpret_cast<float*>(behind() + 2 * outer_tile::B_BYTES<Tiles>) + at % 2 * outer_tile::T_FLOATS<Tiles>;
  }

  // Tile `at`: each warp its own 64 columns of z; the factor's rows, by all.
  __device__ void load(int64_t at) const {
    const int64_t from = row + at * ROWS;
    if (from < end) {
      unsigned char* to = tile(at);
      const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
      for (int i = 0; i < ROWS * 8 / 32; ++i) {
        const int line = i * 4 + lane / 8, part = lane % 8;
        stage(to + warp * outer_tile::WARP_BYTES + place(line, part), static_cast<const T*>(p.z), from + line,
              column + warp * LINE + part * 8, end, p.columns, p.wide);
      }
      for (int i = threadIdx.x; i < ROWS * PARTS; i += outer_tile::THREADS) {
        unsigned char* f = to + outer_tile::Z_BYTES + place<PARTS>(i / PARTS, i % PARTS);
        stage_factor<false>(f, p.low ? f + outer_tile::F_BYTES<Tiles> : nullptr, p.f, p.sites, from + i / PARTS,
                            first + i % PARTS * 8, end);
      }
    }
    ptx::cp_async_commit();
  }

  // The block's columns of b, in lines of 64 columns like z: neighbouring threads read one line of it.
  __device__ void load_b() const {
    for (int i = threadIdx.x; i < outer_tile::WARPS * Tiles * 64; i += outer_tile::THREADS) {
      const int warp = i / (Tiles * 64), line = i % (Tiles * 8), part = i / (Tiles * 8) % 8;
      unsigned char* to = behind() + warp * Tiles * 8 * LINE_BYTES + place(line, part);
      stage_factor<true>(to, p.low ? to + outer_tile::B_BYTES<Tiles> : nullptr, p.b, p.sites,
                         column + warp * LINE + part * 8, line, p.columns);
    }
  }

  // drop(z) of the warp's tile into its buffer.
  __device__ void mask(uint32_t z, unsigned char* masked, int64_t at, const Dropout& dropout) const {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int64_t line = row + at * ROWS + g, from = column + threadIdx.x / 32 * LINE;
    const KeptWords kept = kept_words(dropout, line, from, t), kept8 = kept_words(dropout, line + 8, from, t);
    __syncwarp();  // others may still read the mask before
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      uint32_t a[4];
      ptx::ldmatrix(a, z + place(lane % 16, 2 * k + lane / 16));
      mask_operand(a, kept, kept8, k);
#pragma unroll
      for (int i = 0; i < 4; ++i)
        *reinterpret_cast<uint32_t*>(masked + place(g + i % 2 * 8, 2 * k + i / 2) + 4 * t) = a[i];
    }
    __syncwarp();
  }

  // sum += z^T f for 16 columns of the rank.
  __device__ void multiply(uint32_t z, uint32_t f, int pair) {
    const int lane = threadIdx.x % 32;
    uint32_t high[4], low[4];
    ptx::ldmatrix<true>(high, f + place<PARTS>(lane % 16, 2 * pair + lane / 16));
    if (p.low) ptx::ldmatrix<true>(low, f + outer_tile::F_BYTES<Tiles> + place<PARTS>(lane % 16, 2 * pair + lane / 16));
#pragma unroll
    for (int m = 0; m < 4; ++m) {
      uint32_t a[4];
      ptx::ldmatrix<true>(a, z + place(lane / 16 * 8 + lane % 8, 2 * m + lane / 8 % 2));
      const Parts<T> parts(a);
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        parts.multiply(sum[m][2 * pair + n], {high[2 * n], high[2 * n + 1]});
        if (p.low) parts.multiply_low(sum[m][2 * pair + n], {low[2 * n], low[2 * n + 1]});
      }
    }
  }

  __device__ void accumulate(int64_t at) {
    unsigned char* here = tile(at);
    const int warp = threadIdx.x / 32;
    const uint32_t z = ptx::shared_address(here + warp * outer_tile::WARP_BYTES);
    const uint32_t f = ptx::shared_address(here + outer_tile::Z_BYTES);
    uint32_t source = z;
    int site = -1;
#pragma unroll
    for (int pair = 0; pair < Tiles / 2; ++pair) {
      if (first + pair * 16 >= p.rank) break;
      if constexpr (!WithDown) {
        const int own = site_of(p.sites, first + pair * 16);
        if (p.sites.active && own != site) {
          unsigned char* masked = behind() + warp * outer_tile::WARP_BYTES;
          mask(z, masked, at, p.sites.dropout[own]);
          source = ptx::shared_address(masked);
          site = own;
        }
      }
      multiply(source, f, pair);
    }
  }

  // This warp's part of t for a tile: 16 rows, over its 64 columns.
  __device__ void project(int64_t at) const {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const uint32_t z = ptx::shared_address(tile(at) + warp * outer_tile::WARP_BYTES);
    const uint32_t b = ptx::shared_address(behind() + warp * Tiles * 8 * LINE_BYTES);
    float t[Tiles][4] = {};
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      uint32_t a[4];
      ptx::ldmatrix(a, z + place(lane % 16, 2 * k + lane / 16));
      const Parts<T> parts(a);
#pragma unroll
      for (int pair = 0; pair < Tiles / 2; ++pair) {
        const uint32_t from = b + place(pair * 16 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2);
        uint32_t high[4], low[4];
        ptx::ldmatrix(high, from);
        if (p.low) ptx::ldmatrix(low, from + outer_tile::B_BYTES<Tiles>);
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          parts.multiply(t[2 * pair + n], {high[2 * n], high[2 * n + 1]});
          if (p.low) parts.multiply_low(t[2 * pair + n], {low[2 * n], low[2 * n + 1]});
        }
      }
    }
    float* to = sums_of_t(at) + (warp * ROWS + lane / 4) * Tiles * 8 + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < Tiles; ++n) {
      store(to + n * 8, Pack<float, 2>{{t[n][0], t[n][1]}});
      store(to + n * 8 + 8 * Tiles * 8, Pack<float, 2>{{t[n][2], t[n][3]}});
    }
  }

  // The warps' parts together.
  __device__ void write_t(int64_t at) const {
    const float* from = sums_of_t(at);
    for (int i = threadIdx.x; i < ROWS * Tiles * 8; i += outer_tile::THREADS) {
      const int64_t line = row + at * ROWS + i / (Tiles * 8);
      const int j = i % (Tiles * 8);
      float t = from[i];
#pragma unroll
      for (int warp = 1; warp < outer_tile::WARPS; ++warp) t += from[warp * ROWS * Tiles * 8 + i];
      if (line < end && j < p.rank) p.down[(column / outer_tile::COLUMNS * p.rows + line) * p.rank + j] = t;
    }
  }

  __device__ void write(int64_t piece) const {
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    float* to = p.sum + piece * p.columns * p.rank;
#pragma unroll
    for (int m = 0; m < 4; ++m)
#pragma unroll
      for (int n = 0; n < Tiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int64_t c = column + warp * LINE + m * 16 + g + i / 2 * 8;
          const int j = first + n * 8 + 2 * t + i % 2;
          if (c < p.columns && j < p.rank) to[c * p.sum_c + j * p.sum_j] = sum[m][n][i];
        }
  }
};

// Block `index` of a problem.
template <typename T, int Tiles, bool WithDown>
__device__ void run_outer_block(const Problems<Outer>& all, const Outer& p, unsigned index, unsigned char* memory) {
  const unsigned piece = index % p.pieces;
  index /= p.pieces;
  constexpr int STAGES = outer_tile::STAGES;
  const int chunks = (p.rank + Tiles * 8 - 1) / (Tiles * 8);
  const int64_t row = piece * p.stretch, end = min(p.rows, row + p.stretch);
  OuterBlock<T, Tiles, WithDown> block = {
      p, memory, int(index % chunks) * Tiles * 8, int64_t(index / chunks) * outer_tile::COLUMNS, row, end, {}};
  if constexpr (WithDown) block.load_b();
  for (int at = 0; at < STAGES - 1; ++at) block.load(at);
  const int64_t tiles = (max(int64_t(0), end - row) + block.ROWS - 1) / block.ROWS;
  for (int64_t at = 0; at < tiles; ++at) {
    ptx::cp_async_wait<STAGES - 2>();
    __syncthreads();
    block.load(at + STAGES - 1);
    if constexpr (WithDown) {
      if (at > 0) block.write_t(at - 1);
      block.project(at);
    }
    block.accumulate(at);
  }
  ptx::cp_async_wait<0>();
  if constexpr (WithDown) {
    __syncthreads();
    if (tiles > 0) block.write_t(tiles - 1);
  }
  block.write(piece);
  const unsigned columns = index / chunks,
                 blocks = unsigned((p.columns + outer_tile::COLUMNS - 1) / outer_tile::COLUMNS);
  if constexpr (WithDown) finish_place<T>(all, p.finish_down, piece, blocks, row, end, memory);
  finish_place<T>(all, p.finish_sum, columns, p.pieces * chunks, block.column, block.column + outer_tile::COLUMNS,
                  memory);
}

// `WithDown`: of problems some have a down side.
template <typename T, int Tiles, bool WithDown>
__global__ void __launch_bounds__(outer_tile::THREADS, 3) outer_columns(const __grid_constant__ Problems<Outer> all) {
  SHARED_DYNAMIC(memory);
  if (int(blockIdx.y) >= all.count) return cast_apart<T>(all);
  const Outer& p = all.list[blockIdx.y];
  if (blockIdx.x >= p.blocks) return;
  if constexpr (WithDown)
    if (p.b.count > 0) return run_outer_block<T, Tiles, true>(all, p, blockIdx.x, memory);
  run_outer_block<T, Tiles, false>(all, p, blockIdx.x, memory);
}

Outer outer_of(const Thin& thin);

// Blocks of `Tiles` times 8 columns of the rank.
template <int Tiles, bool WithDown>
void run_outer(const Thin* thins, int count) {
  Problems<Outer> all;
  all.counters = counters();
  for (int i = 0; i < count; ++i) {
    Outer p = outer_of(thins[i]);
    const int64_t blocks = ceil_div(p.columns, outer_tile::COLUMNS) * ceil_div(p.rank, Tiles * 8) * p.pieces;
    p.blocks = unsigned(blocks);
    p.finish_sum = all.finish(thins[i].outer_casts, ceil_div(p.columns, outer_tile::COLUMNS));
    if (WithDown && p.b.count > 0) p.finish_down = all.finish(thins[i].down_casts, p.pieces);
    all.add(p, blocks);
    all.add_casts(thins[i].casts);
  }
  dispatch_half(thins->z, [&](auto zero) {
    launch(outer_columns<decltype(zero), Tiles, WithDown>,
           Launch{all.grid(), dim3(outer_tile::THREADS), outer_tile::SHARED_BYTES<Tiles, WithDown>}, all);
  });
}

// In as few launches as parameters allow, by the largest rank; where there are problems with a down side, by theirs,
// whose blocks hold all of it.
template <bool WithDown>
void run_outer(const Thins& thins) {
  each_launch<Outer>(thins, [](const Thin* some, int count, int largest) {
    int whole = 0;
    for (int i = 0; WithDown && i < count; ++i)
      if (some[i].down.count > 0) whole = std::max(whole, some[i].sites.rank());
    const int rank = whole ? whole : largest;
    if (rank <= 16) run_outer<2, WithDown>(some, count);
    else run_outer<4, WithDown>(some, count);
  });
}

}  // namespace lowrank::cuda::lora
