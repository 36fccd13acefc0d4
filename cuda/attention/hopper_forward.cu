// o = drop(softmax(x)) v on Hopper, bf16 and f16, head sizes 64 and 128.
//
// A block has 128 queries of one head: a producer thread brings queries once, keys and values by TMA in two stages of
// 128 rows, in panels of 64 columns with 128-byte swizzle; two warpgroups have 64 queries each. Scores by wgmma from
// shared memory; P goes into the second product from registers, values are transposed by their descriptor. The
// warpgroups meet only at the stages, so that one's softmax covers the other's products. Rows of a tile past the
// sequence belong to its neighbour and count with weight 0. Otherwise as cuda/attention/mma_forward.cu. Bound by tensor
// cores: 4 * pairs * dim FLOPs; the target is 60 % of wgmma's peak.

#include "cuda/attention/online_softmax.cuh"
#include "cuda/tensor_map.cuh"

namespace lowrank {
namespace cuda {
namespace {

using namespace tensor_core;

constexpr int QUERIES = 128, KEYS = 128, STAGES = 2, CONSUMERS = 2, BLOCK = 128 * (1 + CONSUMERS);
constexpr int LINE = 128;                        // bytes of a panel's row
constexpr uint32_t PANEL = KEYS * LINE;          // of 64 columns; QUERIES alike
constexpr uint32_t STEP = 32, GROUP = 8 * LINE;  // 16 columns; 8 rows

static_assert(QUERIES == KEYS);

template <int D>
constexpr uint32_t TILE = D / 64 * PANEL;

struct Maps {
  TensorMap q, k, v;
};

// Which barrier: queries, then keys, values and emptiness of each stage.
struct Barriers {
  __device__ uint32_t queries() const { return at; }
  __device__ uint32_t keys(int i) const { return at + 8 * uint32_t(1 + i % STAGES); }
  __device__ uint32_t values(int i) const { return at + 8 * uint32_t(1 + STAGES + i % STAGES); }
  __device__ uint32_t empty(int i) const { return at + 8 * uint32_t(1 + 2 * STAGES + i % STAGES); }
  static __device__ uint32_t parity(int i) { return uint32_t(i / STAGES % 2); }
  uint32_t at;
};

template <int D>
__device__ void load_tile(uint32_t to, const TensorMap* map, uint32_t barrier, int column, int64_t row) {
  ptx::mbarrier_arrive_expect(barrier, TILE<D>);
  for (int panel = 0; panel < D / 64; ++panel)
    ptx::tma_load<2>(to + uint32_t(panel) * PANEL, map, barrier, column + 64 * panel, int(row));
}

// Of stage i.
template <int D>
__device__ uint32_t keys_at(uint32_t shared, int i) {
  return shared + TILE<D> * uint32_t(1 + 2 * (i % STAGES));
}

// The sums of one product as wgmma takes them.
template <int N>
__device__ float (&flat(float (&s)[1][N][4]))[4 * N] {
  return reinterpret_cast<float(&)[4 * N]>(s);
}

template <typename T, int D>
__device__ __forceinline__ void multiply_keys(float (&s)[1][KEYS / 8][4], uint32_t queries, uint32_t keys) {
  ptx::wgmma_fence();
#pragma unroll
  for (int d = 0; d < D / 16; ++d) {
    const uint32_t column = uint32_t(d / 4) * PANEL + uint32_t(d % 4) * STEP;
    ptx::wgmma<T, KEYS>(flat(s), ptx::wgmma_descriptor<128>(queries + column, 16, GROUP),
                        ptx::wgmma_descriptor<128>(keys + column, 16, GROUP), d > 0);
  }
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
}

template <typename T, int D>
__device__ __forceinline__ void add_values(float (&o)[1][D / 8][4], const uint32_t (&p)[1][KEYS / 16][4],
                                           uint32_t values) {
  ptx::wgmma_fence();
#pragma unroll
  for (int j = 0; j < KEYS / 16; ++j)
    ptx::wgmma<T, D, true>(flat(o), p[0][j], ptx::wgmma_descriptor<128>(values + uint32_t(j) * 2 * GROUP, PANEL, GROUP),
                           true);
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
}

template <typename T, int D>
__global__ void __launch_bounds__(BLOCK, 1) attend_wgmma(T* o, float* lse, const __grid_constant__ Maps maps,
                                                         const __grid_constant__ Problem<float> p, int tiles) {
  const Work work = work_of_block(p.heads, tiles, p.causal);
  const Sequence seq = p.sequence(work.sequence);
  const int q0 = work.tile * QUERIES;
  if (q0 >= seq.length) return;
  SHARED_DYNAMIC(bytes);
  SHARED(store, Array<uint64_t, 1 + 3 * STAGES>);
  const uint32_t queries = ptx::shared_address(bytes);
  const Barriers barriers{ptx::shared_address(store)};
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(barriers.queries(), 1);
    for (int i = 0; i < STAGES; ++i) {
      ptx::mbarrier_init(barriers.keys(i), 1);
      ptx::mbarrier_init(barriers.values(i), 1);
      ptx::mbarrier_init(barriers.empty(i), 4 * CONSUMERS);  // warps
    }
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  const Range range = p.keys_of(seq, q0, min(q0 + QUERIES, seq.length));
  const int begin = range.begin / KEYS * KEYS, steps = range.end > begin ? (range.end - begin + KEYS - 1) / KEYS : 0;
  if (threadIdx.x < 128) {
    ptx::registers_down<24>();
    if (threadIdx.x == 0 && steps > 0) {
      load_tile<D>(queries, &maps.q, barriers.queries(), work.head * D, seq.start + q0);
      const int column = work.head / (p.heads / p.kv_heads) * D;
      for (int i = 0; i < steps; ++i) {
        const int64_t row = seq.key_start + begin + i * KEYS;
        ptx::mbarrier_wait(barriers.empty(i), barriers.parity(i) ^ 1);
        load_tile<D>(keys_at<D>(queries, i), &maps.k, barriers.keys(i), column, row);
        load_tile<D>(keys_at<D>(queries, i) + TILE<D>, &maps.v, barriers.values(i), column, row);
      }
    }
    __syncwarp();
    return;
  }
  ptx::registers_up<240>();
  const int first = (int(threadIdx.x) / 32 - 4) * 16, group = ptx::shuffle(int(threadIdx.x) / 128, 0) - 1;
  const Scores<float> score = p.scores(work.head);
  const bool plain = p.softcap == 0 && !p.bias && p.scale > 0;
  const float factor = plain ? p.scale : 1;
  const uint32_t row = p.first_row(work.sequence, work.head) + uint32_t(q0 + first);
  Rows<1, D> rows = {};
  rows.maximum[0][0] = rows.maximum[0][1] = -infinity<float>();
  if (steps > 0) ptx::mbarrier_wait(barriers.queries(), 0);
  for (int i = 0; i < steps; ++i) {
    const uint32_t keys = keys_at<D>(queries, i);
    float s[1][KEYS / 8][4];
    ptx::mbarrier_wait(barriers.keys(i), barriers.parity(i));
    multiply_keys<T, D>(s, queries + uint32_t(group) * 64 * LINE, keys);
    score_tile(s, p, seq, score, q0 + first, begin + i * KEYS, plain);
    update(rows, s, factor);
    if (p.drops()) drop(s, p.dropout, row, begin + i * KEYS);
    uint32_t probabilities[1][KEYS / 16][4];
    to_operand<T>(probabilities, s);
    ptx::mbarrier_wait(barriers.values(i), barriers.parity(i));
    add_values<T, D>(rows.o, probabilities, keys + TILE<D>);
    if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(barriers.empty(i));
  }
  float last[1][2];
  finish(last, rows, lse, p, seq, work.head, q0 + first, factor);
  const int64_t stride = int64_t(p.heads) * D;
  store_rows<T, D>(o + (seq.start + q0) * stride + work.head * D, stride, rows.o, last, first, seq.length - q0, D);
}

template <typename T>
TensorMap map_of(const View& x) {
  const uint64_t width = uint64_t(x.cols());
  return tensor_map(x.as<T>(), {{width, uint64_t(x.dims[0])}, {width * sizeof(T)}, {64, KEYS}, 128});
}

template <typename T, int D>
void run(const Outputs& out, const Inputs& in, const Problem<float>& p, int64_t sequences, int64_t length) {
  const int64_t tiles = ceil_div(length, QUERIES), blocks = tiles * p.heads * sequences;
  check(blocks <= INT32_MAX, Code::Unsupported, "attention: ", blocks, " blocks; CUDA allows ", INT32_MAX);
  const Maps maps{map_of<T>(in.q), map_of<T>(in.k), map_of<T>(in.v)};
  launch(attend_wgmma<T, D>, Launch{dim3(unsigned(blocks)), dim3(BLOCK), TILE<D> * (1 + 2 * STAGES)}, out.o.as<T>(),
         out.lse.as<float>(), maps, p, int(tiles));
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
