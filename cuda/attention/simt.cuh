#pragma once
// Blocks of the kernels without tensor cores. A warp owns ROWS rows of one side in shared memory; the other side comes
// by tiles of 32 rows, one a lane for products of two rows, one after the other for sums over rows, where a lane owns
// columns lane, lane + 32, ….

#include "cuda/attention/problem.cuh"

namespace lowrank::cuda::simt {

constexpr int WARPS = 8, THREADS = 32 * WARPS, TILE = 32;

// Rows a warp; of f64 fewer, so that 256 columns fit.
template <typename A>
constexpr int ROWS = sizeof(A) == 4 ? 4 : 1;
template <typename A>
constexpr int BLOCK = ROWS<A> * WARPS;

// Odd, so that lanes at one column meet different banks.
__host__ __device__ constexpr int tile_stride(int dim) { return dim | 1; }

// to[r][c] = from[r * stride + c] for r < valid, else 0.
template <typename A, typename T>
__device__ void load_rows(A* to, int to_stride, const T* from, int64_t stride, int rows, int valid, int dim) {
  for (int i = int(threadIdx.x); i < rows * dim; i += THREADS) {
    const int r = i / dim, c = i % dim;
    to[r * to_stride + c] = r < valid ? A(from[r * stride + c]) : A(0);
  }
}

// s[r] = rows[r] · tile[lane]
template <typename A, int R>
__device__ void products(A (&s)[R], const A* rows, const A* tile, int dim) {
  const A* mine = tile + int(threadIdx.x % 32) * tile_stride(dim);
  for (int r = 0; r < R; ++r) s[r] = 0;
  for (int c = 0; c < dim; ++c)
    for (int r = 0; r < R; ++r) s[r] += rows[r * dim + c] * mine[c];
}

// sum[r] += sum over j of weight[r] of lane j times tile[j]
template <typename A, int R, int N>
__device__ void accumulate(A (&sum)[R][N], const A (&weight)[R], const A* tile, int dim) {
  const int lane = int(threadIdx.x % 32);
  for (int j = 0; j < TILE; ++j) {
    A w[R];
    for (int r = 0; r < R; ++r) w[r] = ptx::shuffle(weight[r], j);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int c = lane + 32 * i;
      const A x = c < dim ? tile[j * tile_stride(dim) + c] : A(0);
      for (int r = 0; r < R; ++r) sum[r][i] += w[r] * x;
    }
  }
}

// The score of a pair from its product q k: -inf where it does not count.
template <typename A>
__device__ A score_of(const Problem<A>& p, const Sequence& s, const Scores<A>& score, A product, int query, int key,
                      A& slope) {
  slope = 1;
  if (query >= s.length || key >= s.keys || !p.allows(query, key)) return -infinity<A>();
  return score(product, key - query, slope);
}

// Multipliers of the probabilities of R queries, from dropout row `row` on, with the lane's key of the tile at k0, a
// multiple of 32. Four lanes draw the bytes of one query.
template <typename A, int R>
__device__ void draw_masks(A (&mask)[R], const Problem<A>& p, uint32_t row, int k0) {
  static_assert(R * 4 <= 32);
  for (int r = 0; r < R; ++r) mask[r] = 1;
  if (!p.drops()) return;
  const int lane = int(threadIdx.x % 32), byte = dropout_byte_of(k0 + lane);
  const MaskBytes drawn = mask_bytes(p.dropout, row + uint32_t(lane / 4 % R), uint32_t(k0 / 64 * 4 + lane % 4));
  const bool second_half = k0 % 64 >= 32;
  const uint32_t low = second_half ? drawn.words[2] : drawn.words[0];
  const uint32_t high = second_half ? drawn.words[3] : drawn.words[1];
  for (int r = 0; r < R; ++r) {
    const int from = r * 4 + lane % 8 / 2;
    const uint32_t first = ptx::shuffle(low, from), second = ptx::shuffle(high, from);
    const int drawn_byte = int((lane < 16 ? first : second) >> (byte % 4 * 8) & 0xff);
    mask[r] = drawn_byte < p.dropout.keep ? p.multiplier : A(0);
  }
}

// row[r][lane + 32 i] = sum[r][i] * factor[r]
template <typename T, typename A, int N>
__device__ void store_row(T* row, const A (&sum)[N], A factor, int dim) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const int c = int(threadIdx.x % 32) + 32 * i;
    if (c < dim) row[c] = T(sum[i] * factor);
  }
}

}  // namespace lowrank::cuda::simt
