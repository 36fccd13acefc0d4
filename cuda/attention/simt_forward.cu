// o = drop(softmax(x)) v without tensor cores: f32, f64, and bf16 or f16 of head sizes that are no multiple of 8.
//
// A block has WARPS * ROWS queries of one head, a warp ROWS of them; keys and values pass through one tile of shared
// memory. A lane scores one key of the tile against the warp's queries, and owns columns of o. Online softmax in
// f32 (f64 for f64); keys and values are read once per block of queries. Bound by loads from shared memory,
// 1 + 1 / ROWS a product: the target is a sixth of the FMA peak. Half precision has cuda/attention/mma_forward.cu.

#include "cuda/attention/simt.cuh"

namespace lowrank {
namespace cuda {
namespace {

using namespace simt;

template <typename A, int R, int N>
struct Rows {
  A maximum[R], sum[R], o[R][N];
};

// Takes in the scores s[r] of the tile; `mask` multiplies the probabilities. On return s holds the weights of values.
template <typename A, int R, int N>
__device__ void update(Rows<A, R, N>& rows, A (&s)[R], const A (&mask)[R]) {
  for (int r = 0; r < R; ++r) {
    const A most = Maximum{}(rows.maximum[r], reduce_warp(s[r], Maximum{}));
    const A base = most == -infinity<A>() ? A(0) : most;  // -inf - -inf would be NaN
    const A shrink = exp2(rows.maximum[r] - base), p = exp2(s[r] - base);
    rows.maximum[r] = most;
    rows.sum[r] = rows.sum[r] * shrink + reduce_warp(p, Sum{});
    s[r] = p * mask[r];
#pragma unroll
    for (int i = 0; i < N; ++i) rows.o[r][i] *= shrink;
  }
}

template <typename T, int D>
__global__ void __launch_bounds__(THREADS, 1)
    attend(T* o, Arithmetic<T>* lse, const T* q, const T* k, const T* v, const Problem<Arithmetic<T>> p) {
  using A = Arithmetic<T>;
  constexpr int R = ROWS<A>;
  const Work work = work_of_block<BLOCK<A>>(p.starts, p.sequences, p.heads, p.causal);
  const Sequence s = p.sequence(work.sequence);
  const int q0 = work.first, dim = p.dim;
  if (q0 >= s.length) return;
  SHARED_DYNAMIC(bytes);
  A* queries = reinterpret_cast<A*>(bytes);
  A* tile = queries + BLOCK<A> * dim;
  const int lane = int(threadIdx.x % 32), first = int(threadIdx.x / 32) * R, query = q0 + first;
  const int64_t q_stride = p.query_stride(), kv_stride = p.key_stride();
  const int64_t q_from = p.query_at(s.start + q0, work.head);
  const int64_t kv_from = p.key_at(s.key_start, p.kv_head_of(work.head));
  load_rows(queries, dim, q + q_from, q_stride, BLOCK<A>, s.length - q0, dim);

  const Range keys = p.keys_of(s, q0, min(q0 + BLOCK<A>, s.length));
  const Scores<A> score = p.scores(work.head);
  const uint32_t row = p.first_row(work.sequence, work.head) + uint32_t(query);
  Rows<A, R, D / 32> rows = {};
  for (int r = 0; r < R; ++r) rows.maximum[r] = -infinity<A>();
  for (int k0 = keys.begin / TILE * TILE; k0 < keys.end; k0 += TILE) {
    load_rows(tile, tile_stride(dim), k + kv_from + k0 * kv_stride, kv_stride, TILE, s.keys - k0, dim);
    __syncthreads();
    A x[R], mask[R], slope;
    products(x, queries + first * dim, tile, dim);
    const int key = k0 + lane;
    for (int r = 0; r < R; ++r) x[r] = score_of(p, s, score, x[r], query + r, key, slope);
    draw_masks(mask, p, row, k0);
    update(rows, x, mask);
    __syncthreads();
    load_rows(tile, tile_stride(dim), v + kv_from + k0 * kv_stride, kv_stride, TILE, s.keys - k0, dim);
    __syncthreads();
    accumulate(rows.o, x, tile, dim);
    __syncthreads();
  }
  for (int r = 0; r < R; ++r) {
    if (query + r >= s.length) continue;
    const bool answered = rows.maximum[r] != -infinity<A>();
    store_row(o + q_from + (first + r) * q_stride, rows.o[r], answered ? 1 / rows.sum[r] : A(0), dim);
    if (lane == 0)
      lse[(s.start + query + r) * p.heads + work.head] =
          answered ? A(LN_2) * (rows.maximum[r] + log2(rows.sum[r])) : -infinity<A>();
  }
}

template <typename T, int D>
void run(const Outputs& out, const Inputs& in, const Problem<Arithmetic<T>>& p) {
  using A = Arithmetic<T>;
  const size_t shared = size_t(BLOCK<A> * p.dim + TILE * tile_stride(p.dim)) * sizeof(A);
  launch(attend<T, D>, Launch{blocks_of(p.tokens, BLOCK<A>, p.heads, p.sequences), dim3(THREADS), shared},
         out.o.as<T>(), out.lse.as<A>(), in.q.as<T>(), in.k.as<T>(), in.v.as<T>(), p);
}

}  // namespace

template <typename T>
void attention_simt(const Outputs& out, const Inputs& in, const Problem<Arithmetic<T>>& p) {
  if (p.dim <= 64) run<T, 64>(out, in, p);
  else run<T, 256>(out, in, p);
}

template void attention_simt<float>(const Outputs&, const Inputs&, const Problem<float>&);
template void attention_simt<double>(const Outputs&, const Inputs&, const Problem<double>&);
template void attention_simt<__nv_bfloat16>(const Outputs&, const Inputs&, const Problem<float>&);
template void attention_simt<__half>(const Outputs&, const Inputs&, const Problem<float>&);

}  // namespace cuda
}  // namespace lowrank
