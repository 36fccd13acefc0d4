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

template <typename T, int D>
__global__ void __launch_bounds__(BLOCK, 1) attend_wgmma(T* o, float* lse, const __grid_constant__ Maps maps,
                                                         const __grid_constant__ Problem<float> p, int tiles) {
  const Work work = work_of_block(p.heads, tiles, p.causal);
  const Sequence seq = p.sequence(work.sequence);
  const int q0 = work.tile * QUERIES;
  if (q0 >= seq.length) return;
  SHARED_DYNAMIC(bytes);
  SHARED(store, Array<uint64_t, Barriers<STAGES>::COUNT>);
  const uint32_t queries = ptx::shared_address(bytes);
  const Barriers<STAGES> barriers{ptx::shared_address(store)};
  barriers.start();
  const Range range = p.keys_of(seq, q0, min(q0 + QUERIES, seq.length));
  const int begin = range.begin / KEYS * KEYS, steps = range.end > begin ? (range.end - begin + KEYS - 1) / KEYS : 0;
  if (threadIdx.x < 128) {
    ptx::registers_down<PRODUCER_REGISTERS>();
    if (threadIdx.x == 0 && steps > 0) {
      ptx::mbarrier_arrive_expect(barriers.fixed(), TILE<D, QUERIES>);
      load_tile<D, QUERIES>(queries, &maps.q, barriers.fixed(), work.head * D, seq.start + q0);
      const int column = p.kv_head_of(work.head) * D;
      for (int i = 0; i < steps; ++i) {
        const uint32_t keys = keys_at<D>(queries, i);
        const int64_t row = seq.key_start + begin + i * KEYS;
        ptx::mbarrier_wait(barriers.empty(i), barriers.parity(i) ^ 1);
        ptx::mbarrier_arrive_expect(barriers.first(i), TILE<D, KEYS>);
        load_tile<D, KEYS>(keys, &maps.k, barriers.first(i), column, row);
        ptx::mbarrier_arrive_expect(barriers.second(i), TILE<D, KEYS>);
        load_tile<D, KEYS>(keys + TILE<D, KEYS>, &maps.v, barriers.second(i), column, row);
      }
    }
    __syncwarp();
    return;
  }
  ptx::registers_up<CONSUMER_REGISTERS>();
  const int first = (int(threadIdx.x) / 32 - 4) * 16;
  const uint32_t mine = queries + uint32_t(consumer_index()) * 64 * LINE;
  const Scores<float> score = p.scores(work.head);
  const bool plain = p.softcap == 0 && !p.bias && p.scale > 0;
  const float factor = plain ? p.scale : 1;
  const uint32_t row = p.first_row(work.sequence, work.head) + uint32_t(q0 + first);
  Rows<1, D> rows = {};
  rows.maximum[0][0] = rows.maximum[0][1] = -infinity<float>();
  if (steps > 0) ptx::mbarrier_wait(barriers.fixed(), 0);
  for (int i = 0; i < steps; ++i) {
    const uint32_t keys = keys_at<D>(queries, i);
    float s[1][KEYS / 8][4];
    ptx::mbarrier_wait(barriers.first(i), barriers.parity(i));
    ptx::wgmma_fence();
    multiply_rows<T, D, QUERIES>(s, mine, keys);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    score_tile(s, p, seq, score, q0 + first, begin + i * KEYS, plain);
    update(rows, s, factor);
    if (p.drops()) drop(s, p.dropout, row, begin + i * KEYS);
    uint32_t probabilities[1][KEYS / 16][4];
    to_operand<T>(probabilities, s);
    ptx::mbarrier_wait(barriers.second(i), barriers.parity(i));
    const int left = seq.keys - begin - i * KEYS;
    if (left < KEYS) clear_rows<D, KEYS>(left, bytes + (keys + TILE<D, KEYS> - queries));
    ptx::wgmma_fence();
    add_rows<T, D>(rows.o, probabilities, keys + TILE<D, KEYS>);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(barriers.empty(i));
  }
  float last[1][2];
  finish(last, rows, lse, p, seq, work.head, q0 + first, factor);
  store_rows<T, D>(o + p.query_at(seq.start + q0, work.head), p.query_stride(), rows.o, last, first, seq.length - q0,
                   D);
}

template <typename T, int D>
void run(const Outputs& out, const Inputs& in, const Problem<float>& p, int64_t sequences, int64_t length) {
  const int64_t tiles = ceil_div(length, QUERIES);
  const Maps maps{map_of<QUERIES, T>(in.q), map_of<KEYS, T>(in.k), map_of<KEYS, T>(in.v)};
  launch(attend_wgmma<T, D>,
         Launch{blocks_of(tiles, p.heads, sequences), dim3(BLOCK), TILE<D, QUERIES> + STAGES * 2 * TILE<D, KEYS>},
         out.o.as<T>(), out.lse.as<float>(), maps, p, int(tiles));
}

}  // namespace

template <typename T>
void attention_hopper(const Outputs& out, const Inputs& in, const Problem<float>& p, int64_t sequences,
                      int64_t max_length) {
  if (p.dim == 64) run<T, 64>(out, in, p, sequences, max_length);
  else run<T, 128>(out, in, p, sequences, max_length);
}

template void attention_hopper<__nv_bfloat16>(const Outputs&, const Inputs&, const Problem<float>&, int64_t, int64_t);
template void attention_hopper<__half>(const Outputs&, const Inputs&, const Problem<float>&, int64_t, int64_t);

}  // namespace cuda
}  // namespace lowrank
