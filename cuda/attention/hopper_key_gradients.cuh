#pragma once
// dk and dv of attention on Hopper, bf16 and f16, head sizes 64 and 128; formulas and order of sums as in
// cuda/attention/mma_key_gradients.cu.
//
// A block has 128 keys of one key-value head: a producer thread brings keys and values once, then queries, dy and their
// row sums by TMA in stages, for the queries of all heads of the group; two warpgroups have 64 keys each. Products are
// computed with keys as rows, so that p and ds go into the second products from registers; queries and dy are
// transposed by their descriptor. Without a bias or a soft-cap p is computed while dy v is in flight. The warpgroups
// meet only at the stages, so that one's exponentials cover the other's products. Rows of a tile past the sequence
// belong to its neighbour: those of queries and dy are cleared, those of keys and values have sums of their own.
//
// Products in T, f32 sums. Queries and dy are read once per block, from L2: pairs / 128 * 4 * dim bytes, 256 FLOPs a
// byte. Bound by tensor cores: 8 * pairs * dim FLOPs; of dim 128, q k and dy v as much by shared memory. The target is
// 57 % of wgmma's peak, of dim 64 47 %, since there exponentials and ds take half as long as the products. All options
// are taken; a bias or a soft-cap costs the most.

#include "cuda/attention/differentiate.cuh"
#include "cuda/attention/hopper.cuh"

namespace lowrank::cuda::tensor_core::sm90::key_gradients {

inline constexpr int KEYS = ROWS, STAGES = 4;
// As many queries a step as registers hold beside dk and dv.
template <int D>
constexpr int QUERIES = D == 64 ? 128 : 64;

struct Maps {
  TensorMap q, k, v, dy, sums;
};

// In shared memory: keys and values, then stages of queries and dy, then what is beside them.
template <typename T, int D, int Q = QUERIES<D>>
struct Memory {
  static constexpr uint32_t FIXED = 2 * TILE<D, KEYS>, STAGE = 2 * TILE<D, Q>, SIDE = sizeof(Side<Q, CONSUMERS>);
  static constexpr uint32_t BYTES = FIXED + STAGES * (STAGE + SIDE);

  __device__ uint32_t keys() const { return ptx::shared_address(bytes); }
  __device__ uint32_t values() const { return keys() + TILE<D, KEYS>; }
  __device__ uint32_t queries(int step) const { return keys() + FIXED + Steps<STAGES>::stage(step) * STAGE; }
  __device__ uint32_t gradients(int step) const { return queries(step) + TILE<D, Q>; }
  __device__ Side<Q, CONSUMERS>& side(int step) const {
    return reinterpret_cast<Side<Q, CONSUMERS>*>(bytes + FIXED + STAGES * STAGE)[Steps<STAGES>::stage(step)];
  }
  unsigned char* bytes;
};

// Steps of the block: for each head of the group the tiles of queries that see its keys.
template <typename F>
__device__ __forceinline__ void each_step(const Problem<float>& p, int kv_head, int begin, int end, int queries,
                                          F&& body) {
  const int group = p.heads / p.kv_heads;
  int step = 0;
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head)
    for (int q0 = begin; q0 < end; q0 += queries) body(step++, head, q0);
}

// Sums: whether the row sums come by TMA; else they are where they belong already.
template <typename T, int D, int Q, bool Sums>
__device__ void produce(const Memory<T, D, Q>& memory, const Barriers<STAGES>& barriers, const Maps& maps,
                        const Problem<float>& p, const Work& work, const Sequence& seq, Range range) {
  const int64_t first_key = seq.key_start + work.first;
  ptx::mbarrier_arrive_expect(barriers.fixed(), 2 * TILE<D, KEYS>);
  load_tile<D, KEYS>(memory.keys(), &maps.k, barriers.fixed(), work.head * D, first_key);
  load_tile<D, KEYS>(memory.values(), &maps.v, barriers.fixed(), work.head * D, first_key);
  each_step(p, work.head, range.begin, range.end, Q, [&](int step, int head, int q0) {
    const int64_t row = seq.start + q0;
    ptx::mbarrier_wait(barriers.empty(step), barriers.parity(step) ^ 1);
    ptx::mbarrier_arrive_expect(barriers.first(step), TILE<D, Q> + (Sums ? 2 * Q * sizeof(float) : 0));
    load_tile<D, Q>(memory.queries(step), &maps.q, barriers.first(step), head * D, row);
    if constexpr (Sums)
      ptx::tma_load<2>(ptx::shared_address(memory.side(step).norm), &maps.sums, barriers.first(step),
                       int(head * p.tokens + row));
    ptx::mbarrier_arrive_expect(barriers.second(step), TILE<D, Q>);
    load_tile<D, Q>(memory.gradients(step), &maps.dy, barriers.second(step), head * D, row);
  });
}

// The neighbour's rows, and what is beside them.
template <typename T, int D, int Q>
__device__ void clear_neighbour(const Memory<T, D, Q>& memory, int step, int valid) {
  Side<Q, CONSUMERS>& side = memory.side(step);
  for (int i = valid + int(threadIdx.x) - 128; i < Q; i += 128 * CONSUMERS) side.norm[i] = side.delta[i] = 0;
  unsigned char* queries = memory.bytes + (memory.queries(step) - memory.keys());
  clear_rows<D, Q>(valid, queries, queries + TILE<D, Q>);
}

// Of the thread's two queries of column group n.
__device__ inline Pack<float, 4> of_queries(const float* values, int n) {
  const Pack<float, 2> pair = load<2>(values + 8 * n + 2 * (threadIdx.x % 4));
  return {{pair.lane[0], pair.lane[1], pair.lane[0], pair.lane[1]}};
}
// Likewise which pairs with the warp's keys are kept, of 64 keys `first` on.
template <int Q>
__device__ uint32_t kept_pairs(const uint16_t (&kept)[4][Q], int n, int first) {
  const int g = int(threadIdx.x % 32) / 4, t = int(threadIdx.x % 4);
  const Pack<uint16_t, 2> pair = load<2>(kept[g / 2] + 8 * n + 2 * t);
  const uint32_t bit = uint32_t(first / 4 + g % 2), low = pair.lane[0] >> bit, high = pair.lane[1] >> bit;
  return (low & 1) | (high & 1) << 1 | (low & 4) | (high & 4) << 1;
}

template <typename T, int D, int Q>
__device__ void consume(T* dk, T* dv, const Memory<T, D, Q>& memory, const Barriers<STAGES>& barriers,
                        const Problem<float>& p, const Work& work, const Sequence& seq, Range range) {
  const int k0 = work.first, group = consumer_index(), first = (int(threadIdx.x) / 32 - 4) * 16;
  const uint32_t keys = memory.keys() + uint32_t(group) * 64 * LINE, values = keys + TILE<D, KEYS>;
  const int key = k0 + first + int(threadIdx.x % 32) / 4;
  const bool plain = p.softcap == 0 && !p.bias;
  float dk_sum[1][D / 8][4] = {}, dv_sum[1][D / 8][4] = {};
  ptx::mbarrier_wait(barriers.fixed(), 0);
  each_step(p, work.head, range.begin, range.end, Q, [&](int step, int head, int q0) {
    const uint32_t queries = memory.queries(step), dy = memory.gradients(step);
    Side<Q, CONSUMERS>& side = memory.side(step);
    const bool all = q0 + Q <= seq.length && p.allows_all(q0, q0 + Q, k0 + first, k0 + first + 16);
    float s[1][Q / 8][4], dp[1][Q / 8][4];
    ptx::mbarrier_wait(barriers.first(step), barriers.parity(step));
    if (q0 + Q > seq.length) {
      ptx::mbarrier_wait(barriers.second(step), barriers.parity(step));
      clear_neighbour(memory, step, seq.length - q0);
    }
    ptx::wgmma_fence();
    multiply_rows<T, D, KEYS>(s, keys, queries);
    ptx::wgmma_commit();
    ptx::mbarrier_wait(barriers.second(step), barriers.parity(step));
    ptx::wgmma_fence();
    multiply_rows<T, D, KEYS>(dp, values, dy);
    ptx::wgmma_commit();
    if (p.drops()) {
      draw_kept(side.kept[group], p.dropout, p.first_row(work.sequence, head) + uint32_t(q0), k0 + 64 * group);
      if (group == 0) ptx::barrier_sync<1, 128>();
      else ptx::barrier_sync<2, 128>();
    }
    ptx::wgmma_wait<1>();
    if (plain) plain_probabilities(s, p.scale, [&](int n) { return of_queries(side.norm, n); });
    if (plain && !all)
      discard_pairs(s, p.queries_of(seq, key, key + 1).from(q0), p.queries_of(seq, key + 8, key + 9).from(q0));
    ptx::wgmma_wait<0>();
    const auto delta = [&](int n) { return of_queries(side.delta, n); };
    const auto kept = [&](int n) { return kept_pairs(side.kept[group], n, first % 64); };
    if (!plain) differentiate<1, Q, Q, CONSUMERS>(s, dp, p, side, rule_of(p, head), k0, first, q0, 0, seq.length - q0);
    else if (p.drops()) plain_gradients(dp, s, p.multiplier, delta, kept);
    else plain_gradients(dp, s, delta);
    uint32_t probability[1][Q / 16][4], gradient[1][Q / 16][4];
    to_operand<T>(probability, s);
    to_operand<T>(gradient, dp);
    ptx::wgmma_fence();
    add_rows<T, D>(dv_sum, probability, dy);
    add_rows<T, D>(dk_sum, gradient, queries);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    __syncwarp();
    if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(barriers.empty(step));
  });
  const int64_t stride = p.key_stride(), at = p.key_at(seq.key_start + k0, work.head);
  const float by_scale[1][2] = {{p.factor, p.factor}}, by_multiplier[1][2] = {{p.multiplier, p.multiplier}};
  store_rows<T, D>(dk + at, stride, dk_sum, by_scale, first, seq.keys - k0, D);
  store_rows<T, D>(dv + at, stride, dv_sum, by_multiplier, first, seq.keys - k0, D);
}

// The row sums of sequences of up to STAGES steps, by the whole block, where a head has keys of its own.
template <typename T, int D, int Q>
__device__ void sum_sides(const Memory<T, D, Q>& memory, const RowInputs<T>& made_of, const Problem<float>& p,
                          const Sequence& seq, int head) {
  for (int i = int(threadIdx.x / 32); i < min(seq.length, STAGES * Q); i += BLOCK / 32) {
    const Pack<float, 2> sums = row_sums_of(made_of, (seq.start + i) * p.heads + head, p.dim);
    if (threadIdx.x % 32 != 0) continue;
    memory.side(i / Q).norm[i % Q] = sums.lane[0];
    memory.side(i / Q).delta[i % Q] = sums.lane[1];
  }
}

// The course of a block. Sums: whether another kernel has made the row sums, which are read through maps.sums.
template <typename T, int D, bool Sums, int Q = QUERIES<D>>
__device__ __forceinline__ void run_tile(T* dk, T* dv, const RowInputs<T>& made_of, const Maps& maps,
                                         const Problem<float>& p) {
  const Work work = work_of_block<KEYS>(p.key_starts, p.sequences, p.kv_heads, false);
  const Sequence seq = p.sequence(work.sequence);
  const int k0 = work.first;
  if (k0 >= seq.keys) return;
  SHARED_DYNAMIC(bytes);
  const Memory<T, D, Q> memory{bytes};
  if constexpr (!Sums) sum_sides(memory, made_of, p, seq, work.head);
  Range range = p.queries_of(seq, k0, min(k0 + KEYS, seq.keys));
  range.begin = range.begin / Q * Q;
  run_block<STAGES>([&](const auto& barriers) { produce<T, D, Q, Sums>(memory, barriers, maps, p, work, seq, range); },
                    [&](const auto& barriers) { consume(dk, dv, memory, barriers, p, work, seq, range); });
}

template <typename T, int Q>
Maps maps_of(const Backward& g, const Inputs& in) {
  return {map_of<Q, T>(in.q), map_of<KEYS, T>(in.k), map_of<KEYS, T>(in.v), map_of<Q, T>(g.dy), {}};
}

}  // namespace lowrank::cuda::tensor_core::sm90::key_gradients
