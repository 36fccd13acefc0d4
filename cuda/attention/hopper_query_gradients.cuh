#pragma once
// dq of attention on Hopper, bf16 and f16, head sizes 64 and 128: dq_i = scale sum_j ds_ij k_j.
//
// A block has 128 queries of one head: a producer thread brings queries and dy once, keys and values by TMA in stages;
// two warpgroups have 64 queries each. Scores and dy v are computed with queries as rows, and ds goes into the second
// product from registers; keys are transposed by their descriptor. Without a bias or a soft-cap p is computed while
// dy v is in flight. Rows of a tile past the sequence belong to its neighbour: those of keys and values
// are cleared, those of queries and dy have sums of their own.
//
// Products in T, f32 sums. Keys and values are read once per block, from L2: pairs / 128 * 4 * dim bytes, 192 FLOPs a
// byte. Bound by tensor cores: 6 * pairs * dim FLOPs; targets as of hopper_key_gradients.cu.

#include "cuda/attention/differentiate.cuh"
#include "cuda/attention/hopper.cuh"

namespace lowrank::cuda::tensor_core::sm90::query_gradients {

inline constexpr int QUERIES = ROWS, KEYS = 128;
// As many as shared memory holds.
template <int D>
constexpr int STAGES = D == 64 ? 4 : 2;

struct Maps {
  TensorMap q, k, v, dy;
};

// In shared memory: queries and dy, then stages of keys and values.
template <int D>
struct Memory {
  static constexpr uint32_t FIXED = 2 * TILE<D, QUERIES>, STAGE = 2 * TILE<D, KEYS>;
  static constexpr uint32_t BYTES = FIXED + STAGES<D> * STAGE;

  __device__ uint32_t queries() const { return ptx::shared_address(bytes); }
  __device__ uint32_t gradients() const { return queries() + TILE<D, QUERIES>; }
  __device__ uint32_t keys(int step) const { return queries() + FIXED + Steps<STAGES<D>>::stage(step) * STAGE; }
  __device__ uint32_t values(int step) const { return keys(step) + TILE<D, KEYS>; }
  unsigned char* bytes;
};

template <typename T, int D>
__device__ void produce(const Memory<D>& memory, const Barriers<STAGES<D>>& barriers, const Maps& maps,
                        const Problem<float>& p, const Work& work, const Sequence& seq, Range range) {
  const int64_t first_query = seq.start + work.first;
  ptx::mbarrier_arrive_expect(barriers.fixed(), 2 * TILE<D, QUERIES>);
  load_tile<D, QUERIES>(memory.queries(), &maps.q, barriers.fixed(), work.head * D, first_query);
  load_tile<D, QUERIES>(memory.gradients(), &maps.dy, barriers.fixed(), work.head * D, first_query);
  const int column = p.kv_head_of(work.head) * D;
  for (int k0 = range.begin, step = 0; k0 < range.end; k0 += KEYS, ++step) {
    ptx::mbarrier_wait(barriers.empty(step), barriers.parity(step) ^ 1);
    ptx::mbarrier_arrive_expect(barriers.first(step), TILE<D, KEYS>);
    load_tile<D, KEYS>(memory.keys(step), &maps.k, barriers.first(step), column, seq.key_start + k0);
    ptx::mbarrier_arrive_expect(barriers.second(step), TILE<D, KEYS>);
    load_tile<D, KEYS>(memory.values(step), &maps.v, barriers.second(step), column, seq.key_start + k0);
  }
}

// Of the thread's two rows.
__device__ inline Pack<float, 4> of_rows(const float (&values)[1][2]) {
  return {{values[0][0], values[0][0], values[0][1], values[0][1]}};
}

// Which pairs with the keys from k0 on are kept, of the thread's rows, the first of which has dropout row `row`.
struct KeptPairs {
  __device__ uint32_t operator()(int n) {
    const uint32_t group = dropout_group(k0 + 8 * n + 2 * (threadIdx.x % 4));
    if (n % 8 == 0)
      for (int half = 0; half < 2; ++half) bytes[half] = mask_bytes(dropout, row + uint32_t(8 * half), group);
    uint32_t bits = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) bits |= uint32_t(kept_columns(bytes[i / 2], 8 * n)(n % 2, i % 2, dropout.keep)) << i;
    return bits;
  }
  const Dropout& dropout;
  uint32_t row;
  int k0;
  MaskBytes bytes[2];
};

template <typename T, int D>
__device__ void consume(T* dq, const RowSums<float>& sums, const Memory<D>& memory, const Barriers<STAGES<D>>& barriers,
                        const Problem<float>& p, const Work& work, const Sequence& seq, Range range) {
  const int q0 = work.first, first = (int(threadIdx.x) / 32 - 4) * 16;
  const uint32_t queries = memory.queries() + uint32_t(consumer_index()) * 64 * LINE;
  const uint32_t dy = queries + TILE<D, QUERIES>, row = p.first_row(work.sequence, work.head) + uint32_t(q0 + first);
  const int g = int(threadIdx.x % 32) / 4, query = q0 + first + g;
  const QueryRows<1> rows(sums, p, seq, work.head, q0 + first);
  const Differentiate rule = rule_of(p, work.head);
  float dq_sum[1][D / 8][4] = {};
  ptx::mbarrier_wait(barriers.fixed(), 0);
  for (int k0 = range.begin, step = 0; k0 < range.end; k0 += KEYS, ++step) {
    const uint32_t keys = memory.keys(step), values = memory.values(step);
    const bool all = k0 + KEYS <= seq.keys && p.allows_all(q0 + first, q0 + first + 16, k0, k0 + KEYS);
    float s[1][KEYS / 8][4], dp[1][KEYS / 8][4];
    ptx::mbarrier_wait(barriers.first(step), barriers.parity(step));
    if (k0 + KEYS > seq.keys) {
      ptx::mbarrier_wait(barriers.second(step), barriers.parity(step));
      unsigned char* tile = memory.bytes + (keys - memory.queries());
      clear_rows<D, KEYS>(seq.keys - k0, tile, tile + TILE<D, KEYS>);
    }
    ptx::wgmma_fence();
    multiply_rows<T, D, QUERIES>(s, queries, keys);
    ptx::wgmma_commit();
    ptx::mbarrier_wait(barriers.second(step), barriers.parity(step));
    ptx::wgmma_fence();
    multiply_rows<T, D, QUERIES>(dp, dy, values);
    ptx::wgmma_commit();
    ptx::wgmma_wait<1>();
    if (rule.plain) plain_probabilities(s, p.scale, [&](int) { return of_rows(rows.norm); });
    if (rule.plain && !all)
      discard_pairs(s, p.keys_of(seq, query, query + 1).from(k0), p.keys_of(seq, query + 8, query + 9).from(k0));
    ptx::wgmma_wait<0>();
    const auto delta = [&](int) { return of_rows(rows.delta); };
    if (!rule.plain) differentiate<1, KEYS>(s, dp, p, rows, rule, q0 + first, row, k0, seq.keys);
    else if (p.drops()) plain_gradients(dp, s, p.multiplier, delta, KeptPairs{p.dropout, row + uint32_t(g), k0, {}});
    else plain_gradients(dp, s, delta);
    uint32_t gradient[1][KEYS / 16][4];
    to_operand<T>(gradient, dp);
    ptx::wgmma_fence();
    add_rows<T, D>(dq_sum, gradient, keys);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(barriers.empty(step));
  }
  const float factor[1][2] = {{p.factor, p.factor}};
  store_rows<T, D>(dq + p.query_at(seq.start + q0, work.head), p.query_stride(), dq_sum, factor, first, seq.length - q0,
                   D);
}

// The course of a block.
template <typename T, int D>
__device__ __forceinline__ void run_tile(T* dq, const RowSums<float>& sums, const RowInputs<T>& made_of,
                                         const Maps& maps, const Problem<float>& p) {
  const Work work = work_of_block<QUERIES>(p.starts, p.sequences, p.heads, p.causal);
  const Sequence seq = p.sequence(work.sequence);
  const int q0 = work.first;
  if (q0 >= seq.length) return;
  sum_rows<QUERIES>(sums, made_of, p, seq, work.head, q0);
  SHARED_DYNAMIC(bytes);
  const Memory<D> memory{bytes};
  Range range = p.keys_of(seq, q0, min(q0 + QUERIES, seq.length));
  range.begin = range.begin / KEYS * KEYS;
  run_block<STAGES<D>>([&](const auto& barriers) { produce<T, D>(memory, barriers, maps, p, work, seq, range); },
                       [&](const auto& barriers) { consume<T, D>(dq, sums, memory, barriers, p, work, seq, range); });
}

template <typename T>
Maps maps_of(const Backward& g, const Inputs& in) {
  return {map_of<QUERIES, T>(in.q), map_of<KEYS, T>(in.k), map_of<KEYS, T>(in.v), map_of<QUERIES, T>(g.dy)};
}

}  // namespace lowrank::cuda::tensor_core::sm90::query_gradients
