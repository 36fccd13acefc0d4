// dq of attention on tensor cores, bf16 and f16, portable from sm_80 on: dq_i = scale sum_j ds_ij k_j.
//
// A block has 64 M queries of one head, a warp 16 M of them, and passes over the keys. Scores and dy v are computed
// with queries as rows, C keys at a time, and become the left operand of ds k without leaving registers. Keys and
// values come in two buffers by cp.async; queries and dy stay in shared memory. Products in T, f32 sums; keys and
// values are read once per block. Bound by tensor cores: 6 * pairs * dim FLOPs; the target is 50 % of mma.sync's peak.

#include "cuda/attention/differentiate.cuh"

namespace lowrank {
namespace cuda {
namespace {

using namespace tensor_core;

template <typename T, int D, int M, int KEYS, int C>
__global__ void __launch_bounds__(THREADS, 1)
    query_gradients_mma(T* dq, const Operands<T> in, const RowSums<float> sums, const RowInputs<T> made_of,
                        const Problem<float> p) {
  constexpr int QUERIES = 16 * M * WARPS;
  const Work work = work_of_block<QUERIES>(p.starts, p.sequences, p.heads, p.causal);
  const Sequence seq = p.sequence(work.sequence);
  const int q0 = work.first;
  if (q0 >= seq.length) return;
  SHARED_DYNAMIC(bytes);
  const uint32_t queries = ptx::shared_address(bytes), gradients = queries + tile_bytes<T, D>(QUERIES);
  const uint32_t stages = gradients + tile_bytes<T, D>(QUERIES);
  const int first = int(threadIdx.x / 32) * 16 * M;
  const int64_t q_stride = p.query_stride(), kv_stride = p.key_stride();
  const int64_t q_from = p.query_at(seq.start + q0, work.head);
  const int64_t kv_from = p.key_at(seq.key_start, p.kv_head_of(work.head));
  const Range range = p.keys_of(seq, q0, min(q0 + QUERIES, seq.length));
  const int begin = range.begin / KEYS * KEYS;
  const auto fetch_stage = [&](int k0) {
    const uint32_t stage = stages + uint32_t((k0 - begin) / KEYS % 2) * tile_bytes<T, D>(2 * KEYS);
    fetch<D, KEYS>(stage, in.k + kv_from + k0 * kv_stride, kv_stride, seq.keys - k0, p.dim);
    fetch<D, KEYS>(stage + tile_bytes<T, D>(KEYS), in.v + kv_from + k0 * kv_stride, kv_stride, seq.keys - k0, p.dim);
    ptx::cp_async_commit();
  };
  fetch<D, QUERIES>(queries, in.q + q_from, q_stride, seq.length - q0, p.dim);
  fetch<D, QUERIES>(gradients, in.dy + q_from, q_stride, seq.length - q0, p.dim);
  ptx::cp_async_commit();
  sum_rows<QUERIES>(sums, made_of, p, seq, work.head, q0);  // while the copies are under way
  const QueryRows<M> rows(sums, p, seq, work.head, q0 + first);
  const Differentiate rule = rule_of(p, work.head);
  const uint32_t row = p.first_row(work.sequence, work.head) + uint32_t(q0 + first);
  float dq_sum[M][D / 8][4] = {};
  if (begin < range.end) fetch_stage(begin);
  for (int k0 = begin; k0 < range.end; k0 += KEYS) {
    if (k0 + KEYS < range.end) {
      fetch_stage(k0 + KEYS);
      ptx::cp_async_wait<1>();
    } else {
      ptx::cp_async_wait<0>();
    }
    __syncthreads();
    const uint32_t keys = stages + uint32_t((k0 - begin) / KEYS % 2) * tile_bytes<T, D>(2 * KEYS);
    const uint32_t values = keys + tile_bytes<T, D>(KEYS);
    for (int c = 0; c < KEYS; c += C) {
      float s[M][C / 8][4], dp[M][C / 8][4];
      multiply<T, D>(s, queries, first, keys, c);
      multiply<T, D>(dp, gradients, first, values, c);
      differentiate<M, C>(s, dp, p, rows, rule, q0 + first, row, k0 + c, seq.keys);
      uint32_t operand[M][C / 16][4];
      to_operand<T>(operand, dp);
      add_products<T, D>(dq_sum, operand, keys, c);
    }
    __syncthreads();
  }
  ptx::cp_async_wait<0>();
  float factor[M][2];
#pragma unroll
  for (int i = 0; i < 2 * M; ++i) factor[i / 2][i % 2] = p.factor;
  store_rows<T, D>(dq + q_from, q_stride, dq_sum, factor, first, seq.length - q0, p.dim);
}

template <typename T, int D, int M, int KEYS, int C>
void run(const Backward& g, const Inputs& in, const RowSums<float>& rows, const RowInputs<T>& made_of,
         const Problem<float>& p) {
  constexpr int QUERIES = 16 * M * WARPS;
  const Operands<T> operands{in.q.as<T>(), in.k.as<T>(), in.v.as<T>(), g.dy.as<T>()};
  launch(query_gradients_mma<T, D, M, KEYS, C>,
         Launch{blocks_of(p.tokens, QUERIES, p.heads, p.sequences), dim3(THREADS),
                tile_bytes<T, D>(2 * QUERIES + 4 * KEYS)},
         g.dq.as<T>(), operands, rows, made_of, p);
}

}  // namespace

// Tiles as large as 96 KB of shared memory and registers hold.
template <typename T>
void query_gradients_on_tensor_cores(const Backward& g, const Inputs& in, const RowSums<float>& rows,
                                     const RowInputs<T>& made_of, const Problem<float>& p) {
  if (p.dim <= 32) return run<T, 32, 2, 64, 32>(g, in, rows, made_of, p);
  if (p.dim <= 64) return run<T, 64, 2, 64, 32>(g, in, rows, made_of, p);
  if (p.dim <= 128) return run<T, 128, 1, 64, 32>(g, in, rows, made_of, p);
  run<T, 256, 1, 16, 16>(g, in, rows, made_of, p);
}

template void query_gradients_on_tensor_cores<__nv_bfloat16>(const Backward&, const Inputs&, const RowSums<float>&,
                                                             const RowInputs<__nv_bfloat16>&, const Problem<float>&);
template void query_gradients_on_tensor_cores<__half>(const Backward&, const Inputs&, const RowSums<float>&,
                                                      const RowInputs<__half>&, const Problem<float>&);

}  // namespace cuda
}  // namespace lowrank
