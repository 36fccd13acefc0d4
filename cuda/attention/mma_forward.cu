// o = drop(softmax(x)) v on tensor cores, bf16 and f16: FlashAttention (Dao et al. 2022), portable from sm_80 on.
//
// Four warps have 64 M queries of one head, a warp 16 M of them in M row tiles, so that a fragment of keys or values
// that was read from shared memory serves M products. Keys and values come in tiles of 64 (32 for 128 columns) by
// cp.async; values travel during the scores, the next keys during softmax and P v. P never leaves registers: sums of
// the first product are the left operand of the second. Online softmax in f32 by exp2 with the scale folded in; a
// thread's 16 columns of a row are one group of dropout's bytes. Products in T with f32 sums; one pass over keys and
// values per block of queries. Bound by tensor cores: 4 * pairs * dim FLOPs; the target is FlashAttention 2's, 60 % of
// mma.sync's peak.

#include "cuda/attention/online_softmax.cuh"

namespace lowrank {
namespace cuda {
namespace {

using namespace tensor_core;

template <typename T, int D, int M, int KEYS>
__global__ void __launch_bounds__(THREADS, 1)
    attend_mma(T* o, float* lse, const T* q, const T* k, const T* v, const Problem<float> p) {
  constexpr int QUERIES = 16 * M * WARPS;
  const Work work = work_of_block<QUERIES>(p.starts, p.sequences, p.heads, p.causal);
  const Sequence seq = p.sequence(work.sequence);
  const int q0 = work.first;
  if (q0 >= seq.length) return;
  SHARED_DYNAMIC(bytes);
  const uint32_t queries = ptx::shared_address(bytes), keys = queries + tile_bytes<T, D>(QUERIES);
  const uint32_t values = keys + tile_bytes<T, D>(KEYS);
  const int first = int(threadIdx.x / 32) * 16 * M;
  const int64_t q_stride = p.query_stride(), kv_stride = p.key_stride();
  const int64_t q_from = p.query_at(seq.start + q0, work.head);
  const int64_t kv_from = p.key_at(seq.key_start, p.kv_head_of(work.head));
  const auto fetch_keys = [&](uint32_t tile, const T* x, int k0) {
    fetch<D, KEYS>(tile, x + kv_from + k0 * kv_stride, kv_stride, seq.keys - k0, p.dim);
    ptx::cp_async_commit();
  };
  const Range range = p.keys_of(seq, q0, min(q0 + QUERIES, seq.length));
  const Scores<float> score = p.scores(work.head);
  const bool plain = is_plain(p);
  const float factor = plain ? p.scale : 1;
  const uint32_t row = p.first_row(work.sequence, work.head) + uint32_t(q0 + first);
  Rows<M, D> rows = {};
#pragma unroll
  for (int i = 0; i < 2 * M; ++i) rows.maximum[i / 2][i % 2] = -infinity<float>();
  fetch<D, QUERIES>(queries, q + q_from, q_stride, seq.length - q0, p.dim);
  ptx::cp_async_commit();
  int k0 = range.begin / KEYS * KEYS;
  if (k0 < range.end) fetch_keys(keys, k, k0);
  for (; k0 < range.end; k0 += KEYS) {
    fetch_keys(values, v, k0);
    ptx::cp_async_wait<1>();
    __syncthreads();
    float s[M][KEYS / 8][4];
    multiply<T, D>(s, queries, first, keys, 0);
    __syncthreads();
    if (k0 + KEYS < range.end) fetch_keys(keys, k, k0 + KEYS);
    score_tile(s, p, seq, score, q0 + first, k0, plain);
    update(rows, s, factor);
    if (p.drops()) drop(s, p.dropout, row, k0);
    uint32_t probabilities[M][KEYS / 16][4];
    to_operand<T>(probabilities, s);
    if (k0 + KEYS < range.end) ptx::cp_async_wait<1>();
    else ptx::cp_async_wait<0>();
    __syncthreads();
    add_products<T, D>(rows.o, probabilities, values, 0);
    __syncthreads();
  }
  ptx::cp_async_wait<0>();
  float last[M][2];
  finish(last, rows, lse, p, seq, work.head, q0 + first, factor);
  store_rows<T, D>(o + q_from, q_stride, rows.o, last, first, seq.length - q0, p.dim);
}

template <typename T, int D, int M, int KEYS>
void run(const Outputs& out, const Inputs& in, const Problem<float>& p) {
  constexpr int QUERIES = 16 * M * WARPS;
  const dim3 blocks = blocks_of(p.tokens, QUERIES, p.heads, p.sequences);
  launch(attend_mma<T, D, M, KEYS>, Launch{blocks, dim3(THREADS), tile_bytes<T, D>(QUERIES + 2 * KEYS)}, out.o.as<T>(),
         out.lse.as<float>(), in.q.as<T>(), in.k.as<T>(), in.v.as<T>(), p);
}

}  // namespace

// Row tiles a warp and keys a tile: as many as registers hold.
template <typename T>
void attention_mma(const Outputs& out, const Inputs& in, const Problem<float>& p) {
  if (p.dim <= 32) run<T, 32, 2, 64>(out, in, p);
  else if (p.dim <= 64) run<T, 64, 2, 64>(out, in, p);
  else if (p.dim <= 128) run<T, 128, 2, 32>(out, in, p);
  else run<T, 256, 1, 64>(out, in, p);
}

template void attention_mma<__nv_bfloat16>(const Outputs&, const Inputs&, const Problem<float>&);
template void attention_mma<__half>(const Outputs&, const Inputs&, const Problem<float>&);

}  // namespace cuda
}  // namespace lowrank
