#pragma once
// Of the backward pass on tensor cores: p and ds from the products q k and dy v, with queries or with keys as rows, in
// the layout of mma.sync's and wgmma's sums.

#include "cuda/attention/mma.cuh"

namespace lowrank::cuda::tensor_core {

// Turns the products of a pair into p where it is kept, and into ds without the scale. What dropout multiplies p with
// waits for the sums, so that p is rounded without it.
struct Differentiate {
  __device__ void operator()(float& product, float& dp, int distance, bool counts, float mask, float norm,
                             float delta) const {
    float slope = 1;
    const float x = plain ? product * score.scale : score(product, counts ? distance : 0, slope);
    const float probability = counts ? ptx::exp2_approx(x - norm) : 0;
    product = mask == 0 ? 0 : probability;
    dp = counts ? probability * (mask * dp - delta) * slope : 0;
  }
  Scores<float> score;
  bool plain;
};
__device__ inline Differentiate rule_of(const Problem<float>& p, int head) {
  return {p.scores(head), p.softcap == 0 && !p.bias};
}

// The same in steps, without branches, where nothing but the scale touches a score. What belongs to a thread's four
// pairs of column group n comes from norm(n), delta(n) and kept(n), one bit a pair. Of rows g and g + 8, the columns in
// `some` and `others` count.
template <int N, typename Norm>
__device__ __forceinline__ void plain_probabilities(float (&s)[1][N][4], float scale, Norm&& norm) {
#pragma unroll
  for (int n = 0; n < N; ++n) {
    const Pack<float, 4> of = norm(n);
#pragma unroll
    for (int i = 0; i < 4; ++i) s[0][n][i] = ptx::exp2_approx(s[0][n][i] * scale - of.lane[i]);
  }
}
template <int N>
__device__ __forceinline__ void discard_pairs(float (&s)[1][N][4], Range some, Range others) {
  const int first = int(threadIdx.x % 4) * 2;
#pragma unroll
  for (int i = 0; i < 4 * N; ++i) {
    const int column = first + i / 4 * 8 + i % 2;
    const Range range = i % 4 < 2 ? some : others;
    if (column < range.begin || column >= range.end) s[0][i / 4][i % 4] = 0;
  }
}
template <int N, typename Delta>
__device__ __forceinline__ void plain_gradients(float (&dp)[1][N][4], const float (&s)[1][N][4], Delta&& delta) {
#pragma unroll
  for (int n = 0; n < N; ++n) {
    const Pack<float, 4> of = delta(n);
#pragma unroll
    for (int i = 0; i < 4; ++i) dp[0][n][i] = s[0][n][i] * (dp[0][n][i] - of.lane[i]);
  }
}
template <int N, typename Delta, typename Kept>
__device__ __forceinline__ void plain_gradients(float (&dp)[1][N][4], float (&s)[1][N][4], float multiplier,
                                                Delta&& delta, Kept&& kept) {
#pragma unroll
  for (int n = 0; n < N; ++n) {
    const Pack<float, 4> of = delta(n);
    const uint32_t bits = kept(n);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool keep = bits >> i & 1;
      dp[0][n][i] = s[0][n][i] * ((keep ? multiplier * dp[0][n][i] : 0) - of.lane[i]);
      if (!keep) s[0][n][i] = 0;
    }
  }
}

// ---- queries as rows

// Of rows 16 m + g and + 8, the warp's queries `query` on.
template <int M>
struct QueryRows {
  __device__ QueryRows(const RowSums<float>& sums, const Problem<float>& p, const Sequence& seq, int head, int query) {
    const int g = int(threadIdx.x % 32) / 4;
    const int64_t at = head * p.tokens + seq.start;
#pragma unroll
    for (int r = 0; r < 2 * M; ++r) {
      const int row = query + 8 * r + g;
      norm[r / 2][r % 2] = row < seq.length ? sums.norm[at + row] : infinity<float>();
      delta[r / 2][r % 2] = row < seq.length ? sums.delta[at + row] : 0;
    }
  }
  float norm[M][2], delta[M][2];
};

// ds of the warp's queries, `query` on, with C keys from k0 on, a multiple of 16; `row`: their dropout row.
template <int M, int C>
__device__ void differentiate(float (&s)[M][C / 8][4], float (&dp)[M][C / 8][4], const Problem<float>& p,
                              const QueryRows<M>& rows, const Differentiate& rule, int query, uint32_t row, int k0,
                              int keys) {
  const int g = int(threadIdx.x % 32) / 4, t = int(threadIdx.x % 4);
  const bool all = k0 + C <= keys && p.allows_all(query, query + 16 * M, k0, k0 + C);
#pragma unroll
  for (int r = 0; r < 2 * M; ++r) {
    const int m = r / 2, half = r % 2, i = 8 * r + g;
    MaskBytes bytes{};
#pragma unroll
    for (int n = 0; n < C / 8; ++n) {
      if (n % 8 == 0 && p.drops())
        bytes = mask_bytes(p.dropout, row + uint32_t(i), uint32_t((k0 + 8 * n) / 64 * 4 + t));
      const KeptColumns kept = kept_columns(bytes, k0 + 8 * n);
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int key = k0 + 8 * n + 2 * t + e;
        const float mask = !p.drops() || kept(n % 2, e, p.dropout.keep) ? p.multiplier : 0;
        const float norm = rows.norm[m][half];
        const bool counts = norm != infinity<float>() && (all || (key < keys && p.allows(query + i, key)));
        rule(s[m][n][2 * half + e], dp[m][n][2 * half + e], key - query - i, counts, mask, norm, rows.delta[m][half]);
      }
    }
  }
}

// ---- keys as rows

// What a tile of Q queries brings besides its rows, for keys in G groups of 64.
template <int Q, int G>
struct Side {
  float norm[Q], delta[Q];
  uint16_t kept[G][4][Q];  // of 64 keys each, t: bit 2j + e is key 8j + 2t + e
};

// Of the 64 keys from k0 on, by 128 threads; `row`: the dropout row of the first of Q queries.
template <int Q>
__device__ void draw_kept(uint16_t (&kept)[4][Q], const Dropout& dropout, uint32_t row, int k0) {
  for (int i = int(threadIdx.x % 128); i < 4 * Q; i += 128) {
    const int query = i % Q, t = i / Q;
    const MaskBytes bytes = mask_bytes(dropout, row + uint32_t(query), uint32_t(k0 / 64 * 4 + t));
    uint32_t bits = 0;
#pragma unroll
    for (int b = 0; b < 16; ++b) bits |= uint32_t(int(bytes[b]) < dropout.keep) << b;
    kept[t][query] = uint16_t(bits);
  }
}

// p and ds of the warp's keys, `first` of the block on, with queries c to c + C of the tile at q0, of which `valid`
// exist.
template <int M, int C, int Q, int G>
__device__ void differentiate(float (&s)[M][C / 8][4], float (&dp)[M][C / 8][4], const Problem<float>& p,
                              const Side<Q, G>& side, const Differentiate& rule, int k0, int first, int q0, int c,
                              int valid) {
  const int g = int(threadIdx.x % 32) / 4, t = int(threadIdx.x % 4);
  const bool all = p.allows_all(q0 + c, q0 + c + C, k0 + first, k0 + first + 16 * M);
#pragma unroll
  for (int n = 0; n < C / 8; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m) {
      const int at = first + 16 * m, bit = at % 64 / 4 + g % 2;
      const uint16_t* kept = side.kept[at / 64][g / 2] + c + 8 * n + 2 * t;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int query = c + 8 * n + 2 * t + i % 2, distance = k0 + at + i / 2 * 8 + g - q0 - query;
        const float mask = !p.drops() || kept[i % 2] >> (bit + i / 2 * 2) & 1 ? p.multiplier : 0;
        const float norm = side.norm[query];
        const bool counts = query < valid && norm != infinity<float>() && (all || p.allows(0, distance));
        rule(s[m][n][i], dp[m][n][i], distance, counts, mask, norm, side.delta[query]);
      }
    }
}

}  // namespace lowrank::cuda::tensor_core
