#pragma once
// y = sum of a b^T + low rank + bias + residual for bf16 and f16, accumulated in f32: mma.sync of sm_80 and later.
//
// Parallel: a block per tile of y, in groups of 8 tiles of m so that what runs together shares operands in L2. K runs
// through a ring of STAGES tiles filled by cp.async; of each, a warp reads fragments by ldmatrix one step ahead of the
// products that use them. Segments and slabs without a mask are one long K: the ring never drains between them. Slabs
// with a mask come first, each masked in registers (a thread holds whole Philox groups: 16 columns a call).
// Memory: each operand once per tile of the other, mostly from L2; y written once.
// Bound by tensor cores: 2 m n k / peak. 64 x 64 a warp reads 32 kB of shared memory per 128 x 128 x 32 products, half
// of what 512 cycles of an A100 allow, next to 16 kB written.

#include "cuda/gemm/store.cuh"
#include "cuda/philox.cuh"

namespace lowrank::cuda::gemm {

using LargeTiling = Tiling<128, 128, 64, 64, 3, 2>;
using SmallTiling = Tiling<64, 64, 32, 32, 4, 4>;

// What a kernel is given: stretches of K, each longer than 0, and masked slabs.
struct Work {
  int stretches = 0, masks = 0;
  Segment stretch[2 * MAX_SEGMENTS];
  Slab mask[MAX_SEGMENTS];
  Target target;
  int blocks = 0;  // of KB of all stretches
  unsigned tiles_m = 0, tiles_n = 0;
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
  static constexpr int MT = S::WM / 16, NT = S::WN / 8, STEPS = KB / KSTEP;
  static constexpr int WARPS_N = S::BN / S::WN;

  __device__ Block(unsigned char* shared, TileIndex tile, const Target& target)
      : shared(shared), address(ptx::shared_address(shared)), row(int64_t(tile.m) * S::BM),
        column(int64_t(tile.n) * S::BN), warp_m(int(threadIdx.x) / 32 / WARPS_N * S::WM),
        warp_n(int(threadIdx.x) / 32 % WARPS_N * S::WN), read_a(warp_m), read_b(warp_n), rows_left(target.m - row),
        columns_left(target.n - column) {}

  __device__ void begin(const Operand& a, const Operand& b) {
    load_a.begin(a, row, rows_left);
    load_b.begin(b, column, columns_left);
  }
  __device__ void load(int stage, int64_t k_left) {
    unsigned char* at = shared + stage * S::STAGE;
    load_a.load(at, k_left);
    load_b.load(at + S::A_BYTES, k_left);
  }
  __device__ uint32_t tile_a(int stage) const { return address + uint32_t(stage * S::STAGE); }
  __device__ uint32_t tile_b(int stage) const { return tile_a(stage) + S::A_BYTES; }

  unsigned char* shared;
  uint32_t address;
  int64_t row, column;
  int warp_m, warp_n;
  FragmentReader<S::BM, AK, false> read_a;
  FragmentReader<S::BN, BK, true> read_b;
  int64_t rows_left, columns_left;
  TileLoader<T, S, S::BM, AK, Fast> load_a;
  TileLoader<T, S, S::BN, BK, Fast> load_b;
};

// part (16 rows of the warp) += rows 16 i of a times b^T, `steps` of 16 k from stage 0 on.
template <typename T, typename B, int NT>
__device__ void multiply_rows(const B& block, float (&part)[NT][4], int i, int steps) {
  for (int step = 0; step < steps; ++step) {
    const int stage = step / B::STEPS, within = step % B::STEPS;
    uint32_t a[4], b[4];
    block.read_a(a, block.tile_a(stage), i, within);
#pragma unroll
    for (int j = 0; j < NT / 2; ++j) {
      block.read_b(b, block.tile_b(stage), j, within);
      ptx::mma<T>(part[2 * j], a, {b[0], b[1]});
      ptx::mma<T>(part[2 * j + 1], a, {b[2], b[3]});
    }
  }
}

// sum += mask * part, of rows g and g + 8 of 16 from `row`, columns 8 j + 2 t from `column` on.
template <int NT>
__device__ void add_masked(float (&sum)[NT][4], const float (&part)[NT][4], const Dropout& dropout, int64_t row,
                           int64_t column) {
  constexpr int WORDS = NT / 2;
  const float multiplier = 256.0f / float(dropout.keep);
  const int lane = int(threadIdx.x) % 32;
  const uint32_t group = dropout_group(column + 2 * (lane % 4));
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const MaskBytes bytes = mask_bytes(dropout, uint32_t(row + lane / 4 + 8 * half + dropout.row_offset), group);
    uint32_t words[WORDS];  // of these columns; the group has 64
#pragma unroll
    for (int i = 0; i < WORDS; ++i) words[i] = column % 64 ? bytes.words[i + 4 - WORDS] : bytes.words[i];
#pragma unroll
    for (int j = 0; j < NT; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const bool kept = int(words[j / 2] >> (j % 2 * 16 + e * 8) & 0xff) < dropout.keep;
        sum[j][2 * half + e] += kept ? multiplier * part[j][2 * half + e] : 0.0f;
      }
  }
}

// sum += mask * (a b^T) of a slab. The mask is linear, so a rank beyond the ring is masked piece by piece.
template <typename T, typename S, typename B, int MT, int NT>
__device__ void add_slab(B& block, float (&sum)[MT][NT][4], const Slab& slab) {
  block.begin(slab.a, slab.b);
  for (int64_t k = 0; k < slab.r; k += S::STAGES * KB) {
    __syncthreads();
    for (int stage = 0; stage < S::STAGES && k + stage * KB < slab.r; ++stage)
      block.load(stage, slab.r - k - stage * KB);
    ptx::cp_async_commit();
    ptx::cp_async_wait<0>();
    __syncthreads();
    const int64_t left = slab.r - k;
    const int depth = int(left < S::STAGES * KB ? left : S::STAGES * KB);
#pragma unroll
    for (int i = 0; i < MT; ++i) {
      float part[NT][4] = {};
      multiply_rows<T>(block, part, i, (depth + KSTEP - 1) / KSTEP);
      add_masked(sum[i], part, slab.dropout, block.row + block.warp_m + 16 * i, block.column + block.warp_n);
    }
  }
}

// Where the ring's loads are: tile by tile through all stretches.
struct Cursor {
  template <typename B>
  __device__ void load(B& block, const Work& work, int stage) {
    if (left <= 0) {
      if (next == work.stretches) return;
      const Segment& stretch = work.stretch[next++];
      block.begin(stretch.a, stretch.b);
      left = stretch.k;
    }
    block.load(stage, left);
    left -= KB;
  }
  int next = 0;
  int64_t left = 0;
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
      for (int j = 0; j < NT; ++j) ptx::mma<T>(sum[i][j], a[i], {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]});
  }
  uint32_t a[MT][4], b[NT / 2][4];
};

// All stretches. In turn t of the ring, tile t is multiplied and tile t + STAGES - 1 fetched into the place of t - 1.
template <typename T, typename S, typename B, int MT, int NT>
__device__ void add_stretches(B& block, float (&sum)[MT][NT][4], const Work& work) {
  Cursor cursor;
  for (int stage = 0; stage < S::STAGES - 1; ++stage) {
    cursor.load(block, work, stage);
    ptx::cp_async_commit();
  }
  ptx::cp_async_wait<S::STAGES - 2>();
  __syncthreads();
  Fragments<MT, NT> fragments[2];
  fragments[0].read(block, 0, 0);
  int stage = 0, ahead = S::STAGES - 1;
  for (int turn = 0; turn < work.blocks; ++turn) {
    fragments[1].read(block, stage, 1);
    cursor.load(block, work, ahead);
    ptx::cp_async_commit();
    ahead = stage;
    fragments[0].template multiply<T>(sum);
    stage = stage + 1 == S::STAGES ? 0 : stage + 1;
    ptx::cp_async_wait<S::STAGES - 2>();
    __syncthreads();
    fragments[0].read(block, stage, 0);
    fragments[1].template multiply<T>(sum);
  }
  ptx::cp_async_wait<0>();
}

template <typename T, typename S, bool AK, bool BK, bool Fast>
__global__ void __launch_bounds__(S::THREADS, Fast ? S::RESIDENT : S::RESIDENT - 1)
    mma_product(const __grid_constant__ Work work) {
  SHARED_DYNAMIC(shared);
  using B = Block<T, S, AK, BK, Fast>;
  B block(shared, tile_of(blockIdx.x, work.tiles_m, work.tiles_n), work.target);
  float sum[B::MT][B::NT][4] = {};
  for (int i = 0; i < work.masks; ++i) add_slab<T, S>(block, sum, work.mask[i]);
  __syncthreads();
  if (work.blocks) add_stretches<T, S>(block, sum, work);
  __syncthreads();
  float* staged = reinterpret_cast<float*>(shared) + int(threadIdx.x) / 32 * 16 * (S::WN + 8);
  static_assert(S::THREADS / 32 * 16 * (S::WN + 8) * 4 <= int(S::SHARED_BYTES));
  store_tile<T>(work.target, sum, staged, block.row + block.warp_m, block.column + block.warp_n);
}

// ---- host

template <typename T, typename S, bool AK, bool BK, bool Fast>
void launch_mma(Work work) {
  work.tiles_m = unsigned(ceil_div(work.target.m, S::BM));
  work.tiles_n = unsigned(ceil_div(work.target.n, S::BN));
  const int64_t blocks = int64_t(work.tiles_m) * work.tiles_n;
  check(blocks <= INT32_MAX, Code::Unsupported, "a product of ", blocks, " tiles; CUDA allows ", INT32_MAX);
  launch(mma_product<T, S, AK, BK, Fast>, Launch{dim3(unsigned(blocks)), dim3(S::THREADS), S::SHARED_BYTES}, work);
}

// Large tiles where they occupy the device; the small ones also serve what cp.async can't carry in 16 bytes.
template <typename T, bool AK, bool BK>
void run_oriented(const Work& work, bool fast) {
  const int64_t large = ceil_div(work.target.m, LargeTiling::BM) * ceil_div(work.target.n, LargeTiling::BN);
  if (!fast) launch_mma<T, SmallTiling, AK, BK, false>(work);
  else if (large < properties().multiprocessors) launch_mma<T, SmallTiling, AK, BK, true>(work);
  else launch_mma<T, LargeTiling, AK, BK, true>(work);
}

// mma_bf16.cu, mma_f16.cu
void run_mma_bf16(const Work& work, bool a_along_k, bool b_along_k, bool fast);
void run_mma_f16(const Work& work, bool a_along_k, bool b_along_k, bool fast);

template <typename T>
void run_mma(const Work& work, bool a_along_k, bool b_along_k, bool fast) {
  if (a_along_k && b_along_k) return run_oriented<T, true, true>(work, fast);
  if (a_along_k) return run_oriented<T, true, false>(work, fast);
  check(!b_along_k, Code::Unsupported, "product: both operands transposed; transpose the product");
  return run_oriented<T, false, false>(work, fast);
}

}  // namespace lowrank::cuda::gemm
