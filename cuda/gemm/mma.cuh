#pragma once
// y = sum of a b^T + low rank + bias + residual for bf16 and f16, and for f32 rounded to TF32, accumulated in f32:
// mma.sync of sm_80 and later.
//
// Parallel: a block per tile of y, in groups of 8 tiles of m so that what runs together shares operands in L2. K runs
// through a ring of STAGES tiles filled by cp.async; of each, a warp reads fragments by ldmatrix one step ahead of the
// products that use them. Segments and slabs without a mask are one long K: the ring never drains between them. Slabs
// with a mask come first, each masked in registers (a thread holds whole Philox groups: 16 columns a call).
// Few tiles under a long K: K is cut into pieces, whose sums multiply_mma() adds in fixed order.
// Memory: each operand once per tile of the other, mostly from L2; y written once.
// Bound by tensor cores: 2 m n k / peak. 64 x 64 a warp reads 32 kB of shared memory per 128 x 128 x 32 products, half
// of what 512 cycles of an A100 allow, next to 16 kB written.

#include <algorithm>

#include "cuda/gemm/store.cuh"
#include "cuda/philox.cuh"

namespace lowrank::cuda::gemm {

using LargeTiling = Tiling<128, 128, 64, 64, 3, 2>;
using SmallTiling = Tiling<64, 64, 32, 32, 4, 4>;

// What a kernel is given. Stretches of K, each longer than 0: slabs with a mask, segments, slabs without.
struct Work {
  int masks = 0, stretches = 0;
  Segment stretch[2 * MAX_SEGMENTS];
  Dropout dropout[MAX_SEGMENTS];  // of the first `masks` stretches
  Target target;
  int k_tiles = 0;  // tiles of K of all stretches without a mask
  int pieces = 1;   // that K is cut into, each summed by blocks of its own; then y is [pieces, m, n]
  unsigned tiles_m = 0, tiles_n = 0;
};

// Products of one launch, each in a layer of the grid of its own.
struct Works {
  int count = 0;
  Work list[MAX_PRODUCTS];
};

struct TileIndex {
  unsigned m, n;
};
__device__ inline TileIndex tile_of(unsigned index, unsigned tiles_m, unsigned tiles_n) {
  constexpr unsigned GROUP = 8;
  const unsigned first = index / (GROUP * tiles_n) * GROUP, within = index % (GROUP * tiles_n);
  const unsigned height = tiles_m - first < GROUP ? tiles_m - first : GROUP;
  return {first + within % height, within / height};
}

// One block's view of its shared memory and its place in y.
template <typename T, typename S, bool AK, bool BK, bool Fast>
struct Block {
  static constexpr int MT = S::WM / 16, NT = S::WN / 8;
  static constexpr int DEPTH = KB<T>;
  static constexpr int WARPS_N = S::BN / S::WN;

  __device__ Block(unsigned char* shared, TileIndex tile)
      : shared(shared), tile(tile), read_a(warp_m()), read_b(warp_n()) {}

  // Of this warp in the tile.
  __device__ static int warp_m() { return int(threadIdx.x) / 32 / WARPS_N * S::WM; }
  __device__ static int warp_n() { return int(threadIdx.x) / 32 % WARPS_N * S::WN; }
  // Of this warp in y.
  __device__ int64_t row() const { return int64_t(tile.m) * S::BM + warp_m(); }
  __device__ int64_t column() const { return int64_t(tile.n) * S::BN + warp_n(); }

  __device__ void begin(const Segment& stretch, const Target& target, int64_t k) {
    load_a.begin(stretch.a, int64_t(tile.m) * S::BM, target.m, k);
    load_b.begin(stretch.b, int64_t(tile.n) * S::BN, target.n, k);
  }
  __device__ void load(int stage, int k_left) {
    load_a.load(shared + stage * S::STAGE, k_left);
    load_b.load(shared + stage * S::STAGE + S::A_BYTES, k_left);
  }
  __device__ const unsigned char* tile_a(int stage) const { return shared + stage * S::STAGE; }
  __device__ const unsigned char* tile_b(int stage) const { return tile_a(stage) + S::A_BYTES; }

  unsigned char* shared;
  TileIndex tile;
  FragmentReader<T, S::BM, AK, false> read_a;
  FragmentReader<T, S::BN, BK, true> read_b;
  TileLoader<T, S, S::BM, AK, Fast> load_a;
  TileLoader<T, S, S::BN, BK, Fast> load_b;
};

// Tiles in flight: tile t lies in stage t % STAGES, and is loaded while t - STAGES + 1 is used.
template <typename S, typename B>
struct Ring {
  // From the tile `first` of all stretches on.
  __device__ Ring(B& block, const Work& work, int first) : block(block), work(work) {
    for (; first > 0; ++next) {
      const int tiles = int((work.stretch[next].k + B::DEPTH - 1) / B::DEPTH);
      if (first < tiles) {
        block.begin(work.stretch[next], work.target, int64_t(first) * B::DEPTH);
        left = int(work.stretch[next].k) - first * B::DEPTH;
      }
      first -= tiles;
    }
    for (int i = 0; i < S::STAGES - 1; ++i) load(i);
  }
  // After this the tile of `stage` is there, and all threads are done with the one before.
  __device__ void wait() {
    ptx::cp_async_wait<S::STAGES - 2>();
    __syncthreads();
  }
  // Into the place of the tile before this one.
  __device__ void load_ahead() { load(stage == 0 ? S::STAGES - 1 : stage - 1); }
  __device__ void advance() { stage = stage + 1 == S::STAGES ? 0 : stage + 1; }
  int stage = 0;

 private:
  __device__ void load(int to) {
    if (left <= 0 && next < work.stretches) {
      block.begin(work.stretch[next], work.target, 0);
      left = int(work.stretch[next++].k);
    }
    if (left > 0) block.load(to, left);
    left -= B::DEPTH;
    ptx::cp_async_commit();
  }
  B& block;
  const Work& work;
  int next = 0, left = 0;
};

template <int MT, int NT>
struct Fragments {
  template <typename B>
  __device__ void read(const B& block, int stage, int step) {
#pragma unroll
    for (int i = 0; i < MT; ++i) block.read_a(a[i], block.tile_a(stage), i, step);
#pragma unroll
    for (int j = 0; j < NT / 2; ++j) block.read_b(b[j], block.tile_b(stage), j, step);
  }
  template <typename T>
  __device__ void multiply(float (&sum)[MT][NT][4]) const {
#pragma unroll
    for (int i = 0; i < MT; ++i)
#pragma unroll
      for (int j = 0; j < NT; ++j) mma<T>(sum[i][j], a[i], {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]});
  }
  uint32_t a[MT][4], b[NT / 2][4];
};

// Whether the columns 8 j + 2 t + e, j < N, of a row are kept, in bits 2 j + e: one call of Philox has 64 columns of t.
template <int N>
__device__ uint32_t kept_bits(const Dropout& dropout, uint32_t row, int64_t column) {
  constexpr int SPARE = 4 - N / 2;  // words of the group's other columns
  const MaskBytes bytes = mask_bytes(dropout, row, dropout_group(column + 2 * (threadIdx.x % 4)));
  uint32_t bits = 0;
#pragma unroll
  for (int i = 0; i < 2 * N; ++i) {
    const uint32_t word = SPARE && column % 64 ? bytes.words[i / 4 + SPARE] : bytes.words[i / 4];
    bits |= uint32_t(int(word >> (i % 4 * 8) & 0xff) < dropout.keep) << i;
  }
  return bits;
}

// sum += mask * (a b^T) of one tile of a slab: since the mask is linear, no slab has to be complete. 16 x 16 at a time,
// whose partial sums need 8 registers.
template <typename T, typename B, int MT, int NT>
__device__ void add_masked(const B& block, int stage, float (&sum)[MT][NT][4], int steps, const Dropout& dropout) {
  const float multiplier = 256.0f / float(dropout.keep);
#pragma unroll
  for (int i = 0; i < MT; ++i) {
    const uint32_t row = uint32_t(block.row() + 16 * i + int(threadIdx.x) % 32 / 4 + dropout.row_offset);
    const uint32_t upper = kept_bits<NT>(dropout, row, block.column());
    const uint32_t lower = kept_bits<NT>(dropout, row + 8, block.column());
#pragma unroll
    for (int j = 0; j < NT / 2; ++j) {
      float part[2][4] = {};
#pragma unroll 1  // fragments of all steps at once would not fit into the registers
      for (int step = 0; step < steps; ++step) {
        uint32_t a[4], b[4];
        block.read_a(a, block.tile_a(stage), i, step);
        block.read_b(b, block.tile_b(stage), j, step);
        mma<T>(part[0], a, {b[0], b[1]});
        mma<T>(part[1], a, {b[2], b[3]});
      }
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        const bool kept = (e % 4 < 2 ? upper : lower) >> (4 * j + e / 4 * 2 + e % 2) & 1;
        sum[i][2 * j + e / 4][e % 4] += kept ? multiplier * part[e / 4][e % 4] : 0.0f;
      }
    }
  }
}

// All slabs with a mask. One loop over the tiles of all: with one per slab the compiler would keep what is the same for
// all tiles of a slab in registers that the sums need.
template <typename T, typename S, typename B, int MT, int NT>
__device__ void add_masked_slabs(Ring<S, B>& ring, B& block, float (&sum)[MT][NT][4], const Work& work) {
  int k = 0;
  for (int i = 0; i < work.masks;) {
    const int left = int(work.stretch[i].k) - k;
    ring.wait();
    ring.load_ahead();
    add_masked<T>(block, ring.stage, sum, left > KSTEP<T> ? 2 : 1, work.dropout[i]);
    ring.advance();
    k = left > KB<T> ? k + KB<T> : 0;
    i += left > KB<T> ? 0 : 1;
  }
}

// All stretches without a mask. Fragments are read one step ahead of their products, across tiles too.
template <typename T, typename S, typename B, int MT, int NT>
__device__ void add_stretches(Ring<S, B>& ring, B& block, float (&sum)[MT][NT][4], int count) {
  static_assert(KB<T> == 2 * KSTEP<T>);
  Fragments<MT, NT> fragments[2];
  ring.wait();
  fragments[0].read(block, ring.stage, 0);
  for (int i = 0; i < count; ++i) {
    fragments[1].read(block, ring.stage, 1);
    ring.load_ahead();
    fragments[0].template multiply<T>(sum);
    ring.advance();
    ring.wait();
    fragments[0].read(block, ring.stage, 0);
    fragments[1].template multiply<T>(sum);
  }
}

template <typename T, typename S, bool AK, bool BK, bool Fast>
__global__ void __launch_bounds__(S::THREADS, Fast ? S::RESIDENT : S::RESIDENT - 1)
    mma_product(const __grid_constant__ Works works) {
  SHARED_DYNAMIC(shared);
  const Work& work = works.list[blockIdx.z];
  if (blockIdx.x >= work.tiles_m * work.tiles_n) return;
  using B = Block<T, S, AK, BK, Fast>;
  B block(shared, tile_of(blockIdx.x, work.tiles_m, work.tiles_n));
  float sum[B::MT][B::NT][4] = {};
  const int first = int(int64_t(work.k_tiles) * blockIdx.y / work.pieces);
  const int last = int(int64_t(work.k_tiles) * (blockIdx.y + 1) / work.pieces);
  Ring<S, B> ring(block, work, first);
  add_masked_slabs<T, S>(ring, block, sum, work);
  if (last > first) add_stretches<T, S>(ring, block, sum, last - first);
  ptx::cp_async_wait<0>();
  __syncthreads();
  static_assert(S::THREADS / 32 * 16 * (S::WN + 8) * 4 <= int(S::SHARED_BYTES));
  store_tile<T, S>(work.target, sum, reinterpret_cast<float*>(shared), block.row(), block.column());
  if constexpr (AK && sizeof(T) == 2)
    if (BK ? work.target.curve.to != nullptr : work.target.curve.at != nullptr)
      bend_tile<T, S, !BK>(work.target, block.row(), block.column());
}

// ---- host

template <typename T, typename S, bool AK, bool BK, bool Fast>
void launch_mma(Works works) {
  int64_t blocks = 0;
  for (int i = 0; i < works.count; ++i) {
    Work& work = works.list[i];
    work.tiles_m = unsigned(ceil_div(work.target.m, S::BM));
    work.tiles_n = unsigned(ceil_div(work.target.n, S::BN));
    blocks = std::max(blocks, int64_t(work.tiles_m) * work.tiles_n);
  }
  check(blocks <= INT32_MAX, Code::Unsupported, "a product of ", blocks, " tiles; CUDA allows ", INT32_MAX);
  launch(mma_product<T, S, AK, BK, Fast>,
         Launch{dim3(unsigned(blocks), unsigned(works.list[0].pieces), unsigned(works.count)), dim3(S::THREADS),
                S::SHARED_BYTES},
         works);
}

template <typename S>
int64_t tiles_of(const Works& works) {
  int64_t tiles = 0;
  for (int i = 0; i < works.count; ++i)
    tiles += ceil_div(works.list[i].target.m, S::BM) * ceil_div(works.list[i].target.n, S::BN);
  return tiles;
}

// Large tiles where they occupy the device; the small ones also serve what cp.async can't carry in 16 bytes.
inline bool takes_large(const Works& works, bool fast) {
  return fast && tiles_of<LargeTiling>(works) >= properties().multiprocessors;
}

template <typename T, bool AK, bool BK>
void run_oriented(const Works& works, bool fast) {
  if (!fast) launch_mma<T, SmallTiling, AK, BK, false>(works);
  else if (takes_large(works, fast)) launch_mma<T, LargeTiling, AK, BK, true>(works);
  else launch_mma<T, SmallTiling, AK, BK, true>(works);
}

// mma_bf16.cu, mma_f16.cu, mma_tf32.cu
void run_mma_bf16(const Works& works, bool a_along_k, bool b_along_k, bool fast);
void run_mma_f16(const Works& works, bool a_along_k, bool b_along_k, bool fast);
void run_mma_tf32(const Works& works, bool a_along_k, bool b_along_k, bool fast);

template <typename T>
void run_mma(const Works& works, bool a_along_k, bool b_along_k, bool fast) {
  if (a_along_k && b_along_k) return run_oriented<T, true, true>(works, fast);
  if (a_along_k) return run_oriented<T, true, false>(works, fast);
  check(!b_along_k, Code::Unsupported, "product: both operands transposed; transpose the product");
  return run_oriented<T, false, false>(works, fast);
}

}  // namespace lowrank::cuda::gemm
