#pragma once
// Online softmax of a warp's tiles of scores, in the layout of mma.sync's and wgmma's sums: rows 16 m + g and + 8.

#include "cuda/attention/mma.cuh"

namespace lowrank::cuda::tensor_core {

// Online softmax over rows 16 m + g (half 0) and + 8 (half 1).
template <int M, int D>
struct Rows {
  float maximum[M][2], sum[M][2], o[M][D / 8][4];
};

// Whether nothing but the scale touches a score; it then goes into the exponent, and scores stay products.
__host__ __device__ inline bool is_plain(const Problem<float>& p) { return p.softcap == 0 && !p.bias && p.scale > 0; }

// Of a thread's columns of 8 N, those in the range: bit 2 n + e is column 8 n + 2 t + e.
template <int N>
__device__ uint32_t columns_in(Range range) {
  static_assert(2 * N <= 32);
  const int first = int(threadIdx.x % 4) * 2;
  const auto below = [first](int end) {
    const uint32_t width = uint32_t(min(max(end - first, 0), 8 * N)), count = (width + 7) / 8 + (width + 6) / 8;
    return count >= 32 ? ~0u : (1u << count) - 1;
  };
  const uint32_t all = below(range.end);  // most ranges have no other bound
  return range.begin > 0 ? all & ~below(range.begin) : all;
}

// Scores of the tile of 8 N keys at k0 from the products: -inf where a pair does not count, and in units of log 2
// unless `plain`.
template <int M, int N>
__device__ void score_tile(float (&s)[M][N][4], const Problem<float>& p, const Sequence& seq,
                           const Scores<float>& score, int query, int k0, bool plain) {
  const int g = int(threadIdx.x % 32) / 4, t = int(threadIdx.x % 4);
  const bool all = k0 + 8 * N <= seq.keys && p.allows_all(query, query + 16 * M, k0, k0 + 8 * N);
  if (plain && all) return;
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int i = 0; i < 4 * N; ++i) {
      const int row = query + 16 * m + i % 4 / 2 * 8 + g, key = k0 + i / 4 * 8 + 2 * t + i % 2;
      float& x = s[m][i / 4][i % 4];
      float slope;
      const bool counts = all || (key < seq.keys && p.allows(row, key));
      if (!counts) x = -infinity<float>();
      else if (!plain) x = score(x, row < seq.length ? key - row : 0, slope);
    }
}

// The same of plain scores, without a branch an element: what doesn't count is discarded by one select. It takes more
// registers than mma.sync's tiles leave.
template <int M, int N>
__device__ void discard_scores(float (&s)[M][N][4], const Problem<float>& p, const Sequence& seq, int query, int k0) {
  if (k0 + 8 * N <= seq.keys && p.allows_all(query, query + 16 * M, k0, k0 + 8 * N)) return;
#pragma unroll
  for (int r = 0; r < 2 * M; ++r) {
    const int row = query + 8 * r + int(threadIdx.x % 32) / 4;
    const uint32_t counts = columns_in<N>(p.keys_of(seq, row, row + 1).from(k0));
#pragma unroll
    for (int i = 0; i < 2 * N; ++i) {
      float& x = s[r / 2][i / 2][r % 2 * 2 + i % 2];
      x = counts >> i & 1 ? x : -infinity<float>();
    }
  }
}

// Takes in the scores, in units of 1 / factor; leaves probabilities, not yet divided by their sum.
template <int M, int D, int N>
__device__ void update(Rows<M, D>& rows, float (&s)[M][N][4], float factor) {
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float most = rows.maximum[m][half];
#pragma unroll
      for (int n = 0; n < N; ++n) most = fmaxf(most, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
      most = fmaxf(most, ptx::shuffle_xor(most, 1));
      most = fmaxf(most, ptx::shuffle_xor(most, 2));
      const float base = most == -infinity<float>() ? 0 : most * factor;  // -inf - -inf would be NaN
      const float shrink = ptx::exp2_approx(rows.maximum[m][half] * factor - base);
      rows.maximum[m][half] = most;
      float sum = 0;
#pragma unroll
      for (int i = 0; i < 2 * N; ++i) {
        float& x = s[m][i / 2][2 * half + i % 2];
        x = ptx::exp2_approx(x * factor - base);
        sum += x;
      }
      rows.sum[m][half] = rows.sum[m][half] * shrink + sum;
#pragma unroll
      for (int i = 0; i < D / 4; ++i) rows.o[m][i / 2][2 * half + i % 2] *= shrink;
    }
}

// Drops probabilities of rows from dropout row `row` on; what stays is multiplied at the end.
template <int M, int N>
__device__ void drop(float (&s)[M][N][4], const Dropout& dropout, uint32_t row, int k0) {
  const int g = int(threadIdx.x % 32) / 4, t = int(threadIdx.x % 4);
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      MaskBytes bytes{};
#pragma unroll
      for (int n = 0; n < N; n += 2) {
        if (n % 8 == 0)
          bytes = mask_bytes(dropout, row + uint32_t(16 * m + 8 * half + g), dropout_group(k0 + 8 * n + 2 * t));
        const KeptColumns kept = kept_columns(bytes, k0 + 8 * n);
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (!kept(i / 2, i % 2, dropout.keep)) s[m][n + i / 2][2 * half + i % 2] = 0;
      }
    }
}

// At the end: what o is to be multiplied with, and lse of the warp's queries, from `query` on.
template <int M, int D>
__device__ void finish(float (&last)[M][2], const Rows<M, D>& rows, float* lse, const Problem<float>& p,
                       const Sequence& seq, int head, int query, float factor) {
#pragma unroll
  for (int i = 0; i < 2 * M; ++i) {
    float sum = rows.sum[i / 2][i % 2];
    sum += ptx::shuffle_xor(sum, 1);
    sum += ptx::shuffle_xor(sum, 2);
    last[i / 2][i % 2] = sum == 0 ? 0 : p.multiplier / sum;
    const int row = query + i * 8 + int(threadIdx.x % 32) / 4;
    if (row < seq.length && threadIdx.x % 4 == 0)
      lse[(seq.start + row) * p.heads + head] =
          sum == 0 ? -infinity<float>() : float(LN_2) * (rows.maximum[i / 2][i % 2] * factor + log2f(sum));
  }
}

}  // namespace lowrank::cuda::tensor_core
