// dk and dv of attention on tensor cores, bf16 and f16, portable from sm_80 on:
//
//   dv_j = sum_i mask p_ij dy_i,  dk_j = scale sum_i ds_ij q_i,  ds = p (mask dy v - dy o) slope
//
// A block has 64 M keys of one key-value head, a warp 16 M of them, and passes over the queries of all heads of the
// group, so that each sum has one owner and a fixed order. Products are computed with keys as rows, C queries at a
// time: scores and their gradients become left operands of the second products without leaving registers. Queries and
// dy come in two buffers of Q rows by cp.async, with lse, dy o and dropout's bits beside them; keys and values stay in
// shared memory. Products in T, f32 sums; queries and dy are read once per block. Bound by tensor cores, 8 * pairs *
// dim FLOPs, and as much by ldmatrix where M is 1; the target is 50 % of mma.sync's peak.

#include "cuda/attention/differentiate.cuh"

namespace lowrank {
namespace cuda {
namespace {

using namespace tensor_core;

template <int Q, int G>
__device__ void load_side(Side<Q, G>& side, const RowSums<float>& rows, int64_t at, int valid) {
  for (int i = int(threadIdx.x); i < min(Q, valid); i += THREADS) {
    side.norm[i] = rows.norm[at + i];
    side.delta[i] = rows.delta[at + i];
  }
}

template <typename T, int D, int M>
__device__ void store_scaled(T* to, int64_t stride, const float (&sum)[M][D / 8][4], float by, int first, int valid,
                             int dim) {
  float factor[M][2];
#pragma unroll
  for (int i = 0; i < 2 * M; ++i) factor[i / 2][i % 2] = by;
  store_rows<T, D>(to, stride, sum, factor, first, valid, dim);
}

// dk and dv from a stage of Q queries, C at a time.
template <typename T, int D, int M, int Q, int C, bool DK, bool DV, int G, typename DKs, typename DVs>
__device__ __forceinline__ void add_stage(DKs& dk_sum, DVs& dv_sum, const Problem<float>& p, const Side<Q, G>& side,
                                          const Differentiate& rule, uint32_t keys, uint32_t queries, int k0, int first,
                                          int q0, int valid) {
  const uint32_t values = keys + tile_bytes<T, D>(16 * M * WARPS), gradients = queries + tile_bytes<T, D>(Q);
  for (int c = 0; c < Q; c += C) {
    float s[M][C / 8][4], dp[M][C / 8][4] = {};
    multiply<T, D>(s, keys, first, queries, c);
    if constexpr (DK) multiply<T, D>(dp, values, first, gradients, c);
    differentiate<M, C, Q, G>(s, dp, p, side, rule, k0, first, q0, c, valid);
    uint32_t operand[M][C / 16][4];
    if constexpr (DV) {
      to_operand<T>(operand, s);
      add_products<T, D>(dv_sum, operand, gradients, c);
    }
    if constexpr (DK) {
      to_operand<T>(operand, dp);
      add_products<T, D>(dk_sum, operand, queries, c);
    }
  }
}

template <typename T, int D, int M, int Q, int C, bool DK, bool DV>
__global__ void __launch_bounds__(THREADS, 1)
    key_gradients_mma(T* dk, T* dv, const Operands<T> in, const RowSums<float> rows, const Problem<float> p) {
  constexpr int KEYS = 16 * M * WARPS, G = KEYS / 64;
  const Work work = work_of_block<KEYS>(p.key_starts, p.sequences, p.kv_heads, false);
  const Sequence seq = p.sequence(work.sequence);
  const int k0 = work.first, group = p.heads / p.kv_heads;
  if (k0 >= seq.keys) return;
  SHARED_DYNAMIC(bytes);
  SHARED(sides, Array<Side<Q, G>, 2>);
  const uint32_t keys = ptx::shared_address(bytes), values = keys + tile_bytes<T, D>(KEYS);
  const uint32_t stages = values + tile_bytes<T, D>(KEYS);
  const int first = int(threadIdx.x / 32) * 16 * M;
  const int64_t q_stride = p.query_stride(), kv_stride = p.key_stride();
  const int64_t kv_from = p.key_at(seq.key_start + k0, work.head);
  const Range range = p.queries_of(seq, k0, min(k0 + KEYS, seq.keys));
  const int begin = range.begin / Q * Q, steps = range.end > begin ? (range.end - begin + Q - 1) / Q : 0;
  const auto fetch_stage = [&](int i) {
    const int head = work.head * group + i / steps, q0 = begin + i % steps * Q, valid = seq.length - q0;
    const int64_t from = p.query_at(seq.start + q0, head);
    const uint32_t stage = stages + uint32_t(i % 2) * tile_bytes<T, D>(2 * Q);
    fetch<D, Q>(stage, in.q + from, q_stride, valid, p.dim);
    fetch<D, Q>(stage + tile_bytes<T, D>(Q), in.dy + from, q_stride, valid, p.dim);
    ptx::cp_async_commit();
    load_side(sides[i % 2], rows, head * p.tokens + seq.start + q0, valid);
    for (int g = 0; p.drops() && g < G; ++g)
      draw_kept(sides[i % 2].kept[g], p.dropout, p.first_row(work.sequence, head) + uint32_t(q0), k0 + 64 * g);
  };
  fetch<D, KEYS>(keys, in.k + kv_from, kv_stride, seq.keys - k0, p.dim);
  fetch<D, KEYS>(values, in.v + kv_from, kv_stride, seq.keys - k0, p.dim);
  ptx::cp_async_commit();
  float dk_sum[DK ? M : 1][DK ? D / 8 : 1][4] = {}, dv_sum[DV ? M : 1][DV ? D / 8 : 1][4] = {};
  const int count = group * steps;
  if (count > 0) fetch_stage(0);
  for (int i = 0; i < count; ++i) {
    if (i + 1 < count) {
      fetch_stage(i + 1);
      ptx::cp_async_wait<1>();
    } else {
      ptx::cp_async_wait<0>();
    }
    __syncthreads();
    const int q0 = begin + i % steps * Q;
    add_stage<T, D, M, Q, C, DK, DV>(dk_sum, dv_sum, p, sides[i % 2], rule_of(p, work.head * group + i / steps), keys,
                                     stages + uint32_t(i % 2) * tile_bytes<T, D>(2 * Q), k0, first, q0,
                                     seq.length - q0);
    __syncthreads();
  }
  ptx::cp_async_wait<0>();
  if constexpr (DK) store_scaled<T, D>(dk + kv_from, kv_stride, dk_sum, p.factor, first, seq.keys - k0, p.dim);
  if constexpr (DV) store_scaled<T, D>(dv + kv_from, kv_stride, dv_sum, p.multiplier, first, seq.keys - k0, p.dim);
}

template <typename T, int D, int M, int Q, int C, bool DK, bool DV>
void run(const Backward& g, const Inputs& in, const RowSums<float>& rows, const Problem<float>& p) {
  constexpr int KEYS = 16 * M * WARPS;
  const Operands<T> operands{in.q.as<T>(), in.k.as<T>(), in.v.as<T>(), g.dy.as<T>()};
  launch(key_gradients_mma<T, D, M, Q, C, DK, DV>,
         Launch{blocks_of(p.keys, KEYS, p.kv_heads, p.sequences), dim3(THREADS), tile_bytes<T, D>(2 * KEYS + 4 * Q)},
         g.dk.as<T>(), g.dv.as<T>(), operands, rows, p);
}

}  // namespace

// Row tiles a warp and queries at a time: as many as registers hold. Of 256 columns they hold one sum at a time.
template <typename T>
void key_gradients_on_tensor_cores(const Backward& g, const Inputs& in, const RowSums<float>& rows,
                                   const Problem<float>& p) {
  if (p.dim <= 32) return run<T, 32, 2, 64, 32, true, true>(g, in, rows, p);
  if (p.dim <= 64) return run<T, 64, 2, 64, 16, true, true>(g, in, rows, p);
  if (p.dim <= 128) return run<T, 128, 1, 32, 16, true, true>(g, in, rows, p);
  run<T, 256, 1, 16, 16, true, false>(g, in, rows, p);
  run<T, 256, 1, 16, 16, false, true>(g, in, rows, p);
}

template void key_gradients_on_tensor_cores<__nv_bfloat16>(const Backward&, const Inputs&, const RowSums<float>&,
                                                           const Problem<float>&);
template void key_gradients_on_tensor_cores<__half>(const Backward&, const Inputs&, const RowSums<float>&,
                                                    const Problem<float>&);

}  // namespace cuda
}  // namespace lowrank
