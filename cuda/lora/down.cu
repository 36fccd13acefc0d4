// S = drop(z) f^T for a big z of half precision and a factor of rank r <= 64 a block, on tensor cores: s = x a^T of all
// adapters that share x, and t = dy b where nothing else is wanted of dy.
//
// A block has 128 rows, each of its 4 warps 32 of them, and walks along the columns in steps of 64, so the sums stay
// in registers; where rows alone don't fill the GPU, columns are cut into pieces, whose partial sums the last block of
// these rows adds up. z comes through three stages of cp.async, the
// factor beside it through registers, which make two parts of it. Masks are made in registers: as operand
// a of mma a lane holds exactly the 16 columns of one call of Philox. Blocks that differ only in the piece of the rank
// are neighbours in the grid and meet in L2, so z crosses HBM once whatever the rank.
//
// Passes: z once, the sums [pieces, rows, r] in f32 written once. Bound by HBM: at M 8192, K 4096, r 16 it reads 67 MB
// and writes 2 MB, 23 us at 3 TB/s, where mma of two parts takes 5 us, and Philox 8 us an adapter, both hidden.

#include "cuda/lora/tile.cuh"

namespace lowrank::cuda::lora {
namespace {

constexpr int THREADS = 128, ROWS = 128, WARP_ROWS = 32, STAGES = 3;
constexpr int Z_BYTES = ROWS * LINE_BYTES;
template <int Tiles>  // of 8 columns of the rank
constexpr int STAGE_BYTES = Z_BYTES + 2 * Tiles * 8 * LINE_BYTES;

struct Down {
  const void* z;
  int64_t rows, columns;
  bool wide;
  static constexpr int MOST_CASTS = 16;
  Sites sites;
  Factor f;
  bool low;
  float* sum;
  int rank;               // all columns of the rank: a line of `sum`
  int64_t pieces, steps;  // of columns; steps of 64 in a piece
  unsigned blocks;
  Finish finish;
};

template <typename T, int Tiles>
struct DownBlock {
  const Down& p;
  unsigned char* memory;
  int first;  // column of the rank
  int64_t row, step, steps;
  float sum[2][Tiles][4];

  __device__ void load(int64_t at) const {
    if (at < steps) {
      unsigned char* tile = memory + at % STAGES * STAGE_BYTES<Tiles>;
      const int64_t column = (step + at) * LINE;
      for (int i = threadIdx.x; i < ROWS * 8; i += THREADS)
        stage(tile + place(i / 8, i % 8), static_cast<const T*>(p.z), row + i / 8, column + i % 8 * 8, p.rows,
              p.columns, p.wide);
      load_factor(tile + Z_BYTES, column);
    }
    ptx::cp_async_commit();
  }

  // Neighbouring threads read what lies side by side.
  __device__ void load_factor(unsigned char* tile, int64_t column) const {
    const bool along = p.f.stride_c == 1;
    for (int i = threadIdx.x; i < Tiles * 64; i += THREADS) {
      const int line = along ? i / 8 : i % (Tiles * 8), part = along ? i % 8 : i / (Tiles * 8);
      unsigned char* to = tile + place(line, part);
      stage_factor<true>(to, p.low ? to + Tiles * 8 * LINE_BYTES : nullptr, p.f, p.sites, column + part * 8,
                         first + line, p.columns);
    }
  }

  // Sums of 16 columns of the rank over 64 of z.
  __device__ void multiply(const unsigned char* tile, int pair, const KeptWords (&kept)[4]) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const uint32_t z = ptx::shared_address(tile), f = z + Z_BYTES;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int line = pair * 16 + lane / 16 * 8 + lane % 8;
      uint32_t high[4], low[4];
      ptx::ldmatrix(high, f + place(line, 2 * k + lane / 8 % 2));
      if (p.low) ptx::ldmatrix(low, f + Tiles * 8 * LINE_BYTES + place(line, 2 * k + lane / 8 % 2));
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        uint32_t a[4];
        ptx::ldmatrix(a, z + place(warp * WARP_ROWS + m * 16 + lane % 16, 2 * k + lane / 16));
        if (p.sites.active) mask_operand(a, kept[2 * m], kept[2 * m + 1], k);
        const Parts<T> parts(a);
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          parts.multiply(sum[m][2 * pair + n], {high[2 * n], high[2 * n + 1]});
          if (p.low) parts.multiply_low(sum[m][2 * pair + n], {low[2 * n], low[2 * n + 1]});
        }
      }
    }
  }

  __device__ void accumulate(int64_t at) {
    const unsigned char* tile = memory + at % STAGES * STAGE_BYTES<Tiles>;
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    KeptWords kept[4];
    int site = -1;
#pragma unroll
    for (int pair = 0; pair < Tiles / 2; ++pair) {
      if (first + pair * 16 >= p.rank) break;
      const int own = site_of(p.sites, first + pair * 16);
      if (p.sites.active && own != site) {
        const Dropout& dropout = p.sites.dropout[own];
#pragma unroll
        for (int m = 0; m < 4; ++m)
          kept[m] = kept_words(dropout, row + warp * WARP_ROWS + m * 8 + g, (step + at) * LINE, t);
        site = own;
      }
      multiply(tile, pair, kept);
    }
  }

  __device__ void write(int64_t piece) const {
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int m = 0; m < 4; ++m) {
      const int64_t line = row + warp * WARP_ROWS + m * 8 + g;
      if (line >= p.rows) continue;
      float* to = p.sum + (piece * p.rows + line) * p.rank + first + 2 * t;
#pragma unroll
      for (int n = 0; n < Tiles; ++n)
        if (first + n * 8 < p.rank)
          store(to + n * 8, Pack<float, 2>{{sum[m / 2][n][m % 2 * 2], sum[m / 2][n][m % 2 * 2 + 1]}});
    }
  }
};

template <typename T, int Tiles>
__global__ void __launch_bounds__(THREADS, 3) down_rows(const __grid_constant__ Problems<Down> all) {
  SHARED_DYNAMIC(memory);
  if (int(blockIdx.y) >= all.count) return cast_apart<T>(all);
  const Down& p = all.list[blockIdx.y];
  unsigned index = blockIdx.x;
  if (index >= p.blocks) return;
  const int chunks = (p.rank + Tiles * 8 - 1) / (Tiles * 8);
  const unsigned pieces = unsigned(p.pieces), piece = index % pieces;
  index /= pieces;
  const int64_t lines = (p.columns + LINE - 1) / LINE, step = piece * p.steps;
  DownBlock<T, Tiles> block = {p,
                               memory,
                               int(index % chunks) * Tiles * 8,
                               int64_t(index / chunks) * ROWS,
                               step,
                               max(int64_t(0), min(p.steps, lines - step)),
                               {}};
  for (int at = 0; at < STAGES - 1; ++at) block.load(at);
  for (int64_t at = 0; at < block.steps; ++at) {
    ptx::cp_async_wait<STAGES - 2>();
    __syncthreads();
    block.load(at + STAGES - 1);
    block.accumulate(at);
  }
  ptx::cp_async_wait<0>();
  block.write(piece);
  finish_place<T>(all, p.finish, index / chunks, pieces * chunks, block.row, block.row + ROWS, memory);
}

Down down_of(const Thin& thin) {
  const View& z = thin.z;
  const int64_t pieces = down_pieces(z.rows(), z.cols(), thin.sites.rank());
  return {z.data,
          z.rows(),
          z.cols(),
          is_wide(z),
          thin.sites,
          thin.down,
          thin.low,
          thin.down_sum,
          thin.sites.rank(),
          pieces,
          ceil_div(ceil_div(z.cols(), LINE), pieces),
          0,
          {}};
}

template <typename T, int Tiles>
void run(const Thin* thins, int count) {
  Problems<Down> all;
  all.counters = counters();
  for (int i = 0; i < count; ++i) {
    Down p = down_of(thins[i]);
    const int64_t blocks = ceil_div(p.rows, ROWS) * ceil_div(p.rank, Tiles * 8) * p.pieces;
    p.blocks = unsigned(blocks);
    p.finish = all.finish(thins[i].down_casts, ceil_div(p.rows, ROWS));
    all.add(p, blocks);
    all.add_casts(thins[i].casts);
  }
  launch(down_rows<T, Tiles>, Launch{all.grid(), dim3(THREADS), size_t(STAGES) * STAGE_BYTES<Tiles>}, all);
}

}  // namespace

// About 256 blocks, and at least four steps each.
int64_t down_pieces(int64_t rows, int64_t columns, int64_t rank) {
  const int64_t blocks = std::max<int64_t>(1, ceil_div(rows, ROWS) * ceil_div(rank, 64));
  return std::clamp<int64_t>(256 / blocks, 1, std::clamp<int64_t>(columns / (4 * LINE), 1, 16));
}

void down(const Thins& thins) {
  each_launch<Down>(thins, [](const Thin* some, int count, int rank) {
    dispatch_half(some->z, [&](auto zero) {
      using T = decltype(zero);
      if (rank <= 16) run<T, 2>(some, count);
      else if (rank <= 32) run<T, 4>(some, count);
      else run<T, 8>(some, count);
    });
  });
}

}  // namespace lowrank::cuda::lora
