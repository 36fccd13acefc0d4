// o = drop(softmax(x)) v on Hopper, bf16 and f16, head sizes 64 and 128.
//
// A block has 128 queries of one head: a producer thread brings queries once, keys and values by TMA in two stages of
// 128 rows, in panels of 64 columns with 128-byte swizzle; two warpgroups have 64 queries each. Scores by wgmma from
// shared memory; P goes into the second product from registers, values are transposed by their descriptor. The
// warpgroups meet only at the stages, so that one's softmax covers the other's products. Rows of a tile past the
// sequence belong to its neighbour: such keys don't count, and the values are cleared. Otherwise as
// cuda/attention/mma_forward.cu. Bound by tensor cores: 4 * pairs * dim FLOPs; the target is 60 % of wgmma's peak.

#include "cuda/attention/hopper.cuh"
#include "cuda/attention/online_softmax.cuh"

namespace lowrank {
namespace cuda {
namespace {

using namespace tensor_core;
using namespace tensor_core::sm90;

constexpr int QUERIES = ROWS, KEYS = 128, STAGES = 2;

struct Maps {
  TensorMap q, k, v;
};

// Of the stage of a step; its values lie behind them.
template <int D>
__device__ uint32_t keys_at(uint32_t shared, int step) {
  return shared + TILE<D, QUERIES> + 2 * TILE<D, KEYS> * Steps<STAGES>::stage(step);
}

template <int D>
__device__ void produce(uint32_t queries, const Barriers<STAGES>& barriers, const Maps& maps, const Problem<float>& p,
                        const Work& work, const Sequence& seq, Range range) {
  if (range.begin >= range.end) return;
  ptx::mbarrier_arrive_expect(barriers.fixed(), TILE<D, QUERIES>);
  load_tile<D, QUERIES>(queries, &maps.q, barriers.fixed(), work.head * D, seq.start + work.first);
  const int column = p.kv_head_of(work.head) * D;
  for (int k0 = range.begin, step = 0; k0 < range.end; k0 += KEYS, ++step) {
    const uint32_t keys = keys_at<D>(queries, step);
    const int64_t row = seq.key_start + k0;
    ptx::mbarrier_wait(barriers.empty(step), barriers.parity(step) ^ 1);
    ptx::mbarrier_arrive_expect(barriers.first(step), TILE<D, KEYS>);
    load_tile<D, KEYS>(keys, &maps.k, barriers.first(step), column, row);
    ptx::mbarrier_arrive_expect(barriers.second(step), TILE<D, KEYS>);
    load_tile<D, KEYS>(keys + TILE<D, KEYS>, &maps.v, barriers.second(step), column, row);
  }
}

template <typename T, int D, bool Plain>
__device__ void consume(T* o, float* lse, unsigned char* bytes, const Barriers<STAGES>& barriers,
                        const Problem<float>& p, const Work& work, const Sequence& seq, Range range) {
  const int q0 = work.first, first = (int(threadIdx.x) / 32 - 4) * 16;
  const uint32_t queries = ptx::shared_address(bytes), mine = queries + uint32_t(consumer_index()) * 64 * LINE;
  const Scores<float> score = p.scores(work.head);
  const float factor = Plain ? p.scale : 1;
  const uint32_t row = p.first_row(work.sequence, work.head) + uint32_t(q0 + first);
  Rows<1, D> rows = {};
  rows.maximum[0][0] = rows.maximum[0][1] = -infinity<float>();
  if (range.begin < range.end) ptx::mbarrier_wait(barriers.fixed(), 0);
  for (int k0 = range.begin, step = 0; k0 < range.end; k0 += KEYS, ++step) {
    const uint32_t keys = keys_at<D>(queries, step);
    float s[1][KEYS / 8][4];
    ptx::mbarrier_wait(barriers.first(step), barriers.parity(step));
    ptx::wgmma_fence();
    multiply_rows<T, D, QUERIES>(s, mine, keys);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    if constexpr (Plain) discard_scores(s, p, seq, q0 + first, k0);
    else score_tile(s, p, seq, score, q0 + first, k0, false);
    update(rows, s, factor);
    if (p.drops()) drop(s, p.dropout, row, k0);
    uint32_t probabilities[1][KEYS / 16][4];
    to_operand<T>(probabilities, s);
    ptx::mbarrier_wait(barriers.second(step), barriers.parity(step));
    if (seq.keys - k0 < KEYS) clear_rows<D, KEYS>(seq.keys - k0, bytes + (keys + TILE<D, KEYS> - queries));
    ptx::wgmma_fence();
    add_rows<T, D>(rows.o, probabilities, keys + TILE<D, KEYS>);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(barriers.empty(step));
  }
  float last[1][2];
  finish(last, rows, lse, p, seq, work.head, q0 + first, factor);
  store_rows<T, D>(o + p.query_at(seq.start + q0, work.head), p.query_stride(), rows.o, last, first, seq.length - q0,
                   D);
}

// Plain: as is_plain() says, in code of its own, half as much of it.
template <typename T, int D, bool Plain>
__global__ void __launch_bounds__(BLOCK, 1)
    attend_wgmma(T* o, float* lse, const __grid_constant__ Maps maps, const __grid_constant__ Problem<float> p) {
  ptx::wait_for_kernels();
  ptx::let_next_kernel_start();
  const Work work = work_of_block<QUERIES>(p.starts, p.sequences, p.heads, p.causal);
  const Sequence seq = p.sequence(work.sequence);
  if (work.first >= seq.length) return;
  SHARED_DYNAMIC(bytes);
  Range range = p.keys_of(seq, work.first, min(work.first + QUERIES, seq.length));
  range.begin = range.begin / KEYS * KEYS;
  run_block<STAGES>(
      [&](const auto& barriers) { produce<D>(ptx::shared_address(bytes), barriers, maps, p, work, seq, range); },
      [&](const auto& barriers) { consume<T, D, Plain>(o, lse, bytes, barriers, p, work, seq, range); });
}

template <typename T, int D>
void run(const Outputs& out, const Inputs& in, const Problem<float>& p) {
  const Maps maps{map_of<QUERIES, T>(in.q), map_of<KEYS, T>(in.k), map_of<KEYS, T>(in.v)};
  const Launch shape{blocks_of(p.tokens, QUERIES, p.heads, p.sequences), dim3(BLOCK),
                     TILE<D, QUERIES> + STAGES * 2 * TILE<D, KEYS>, 1, true};
  launch(is_plain(p) ? attend_wgmma<T, D, true> : attend_wgmma<T, D, false>, shape, out.o.as<T>(), out.lse.as<float>(),
         maps, p);
}

}  // namespace

template <typename T>
void attention_hopper(const Outputs& out, const Inputs& in, const Problem<float>& p) {
  if (p.dim == 64) run<T, 64>(out, in, p);
  else run<T, 128>(out, in, p);
}

template void attention_hopper<__nv_bfloat16>(const Outputs&, const Inputs&, const Problem<float>&);
template void attention_hopper<__half>(const Outputs&, const Inputs&, const Problem<float>&);

}  // namespace cuda
}  // namespace lowrank
