// Gradients of attention without tensor cores: f32, f64, and bf16 or f16 of head sizes that are no multiple of 8.
//
//   ds = p (mask dy v - dy o) slope,  dv_j = sum_i mask p dy_i,  dk_j = scale sum_i ds q_i,  dq_i = scale sum_j ds k_j
//
// Two kernels, so that each sum has one owner and a fixed order: one block per WARPS * ROWS keys and key-value head,
// which passes over the queries of all heads of its group, and one per WARPS * ROWS queries and head, which passes over
// the keys. Scores are computed in both, seven products instead of five. A lane owns a row of the tile for products and
// columns for sums. f32 arithmetic (f64 for f64). Bound by loads from shared memory, as the forward kernel.

#include "cuda/attention/simt.cuh"

namespace lowrank {
namespace cuda {
namespace {

using namespace simt;

template <typename A, int R, int N>
struct KeySums {
  A dk[R][N], dv[R][N];
};

// p and ds of a pair, in place of its score and of the product dy v.
template <typename A>
__device__ void differentiate(A& x, A& dp, A slope, A mask, A norm, A delta) {
  const bool counts = x != -infinity<A>() && norm != infinity<A>();
  const A p = counts ? exp2(x - norm) : A(0);
  x = p * mask;
  dp = counts ? p * (mask * dp - delta) * slope : A(0);
}

// Multipliers for the lane's query with keys [key, key + R).
template <typename A, int R>
__device__ void draw_key_masks(A (&mask)[R], const Problem<A>& p, uint32_t row, int key) {
  MaskBytes drawn{};
  for (int r = 0; r < R; ++r) {
    mask[r] = 1;
    if (!p.drops()) continue;
    if (r % 2 == 0) drawn = mask_bytes(p.dropout, row, dropout_group(key + r));
    mask[r] = byte_of(drawn, dropout_byte_of(key + r)) < p.dropout.keep ? p.multiplier : A(0);
  }
}

template <typename T, int D>
__global__ void __launch_bounds__(THREADS, 1)
    key_gradients(T* dk, T* dv, const Operands<T> in, const RowSums<Arithmetic<T>> rows,
                  const Problem<Arithmetic<T>> p) {
  using A = Arithmetic<T>;
  constexpr int R = ROWS<A>;
  const Work work = work_of_block<BLOCK<A>>(p.key_starts, p.sequences, p.kv_heads, false);
  const Sequence s = p.sequence(work.sequence);
  const int k0 = work.first, dim = p.dim, group = p.heads / p.kv_heads;
  if (k0 >= s.keys) return;
  SHARED_DYNAMIC(bytes);
  A* keys = reinterpret_cast<A*>(bytes);
  A *values = keys + BLOCK<A> * dim, *tile = values + BLOCK<A> * dim;
  const int lane = int(threadIdx.x % 32), first = int(threadIdx.x / 32) * R, key = k0 + first;
  const int64_t q_stride = p.query_stride(), kv_stride = p.key_stride();
  const int64_t kv_from = p.key_at(s.key_start + k0, work.head);
  load_rows(keys, dim, in.k + kv_from, kv_stride, BLOCK<A>, s.keys - k0, dim);
  load_rows(values, dim, in.v + kv_from, kv_stride, BLOCK<A>, s.keys - k0, dim);

  KeySums<A, R, D / 32> sums = {};
  const Range queries = p.queries_of(s, k0, min(k0 + BLOCK<A>, s.keys));
  for (int head = work.head * group; head < (work.head + 1) * group; ++head) {
    const Scores<A> score = p.scores(head);
    const int64_t q_from = p.query_at(s.start, head);
    for (int q0 = queries.begin; q0 < queries.end; q0 += TILE) {
      const int query = q0 + lane, valid = s.length - q0;
      const int64_t at = head * p.tokens + s.start + query;
      const A norm = query < s.length ? rows.norm[at] : infinity<A>();
      const A delta = query < s.length ? rows.delta[at] : A(0);
      const auto load_tile = [&](const T* x) {
        __syncthreads();
        load_rows(tile, tile_stride(dim), x + q_from + q0 * q_stride, q_stride, TILE, valid, dim);
        __syncthreads();
      };
      A x[R], dp[R], mask[R];
      load_tile(in.q);
      products(x, keys + first * dim, tile, dim);
      load_tile(in.dy);
      products(dp, values + first * dim, tile, dim);
      draw_key_masks(mask, p, p.first_row(work.sequence, head) + uint32_t(query), key);
      for (int r = 0; r < R; ++r) {
        A slope;
        x[r] = score_of(p, s, score, x[r], query, key + r, slope);
        differentiate(x[r], dp[r], slope, mask[r], norm, delta);
      }
      accumulate(sums.dv, x, tile, dim);
      load_tile(in.q);
      accumulate(sums.dk, dp, tile, dim);
    }
  }
  for (int r = 0; r < R; ++r) {
    if (key + r >= s.keys) continue;
    const int64_t at = kv_from + (first + r) * kv_stride;
    if (dk) store_row(dk + at, sums.dk[r], p.factor, dim);
    if (dv) store_row(dv + at, sums.dv[r], A(1), dim);
  }
}

template <typename T, int D>
__global__ void __launch_bounds__(THREADS, 1)
    query_gradients(T* dq, const Operands<T> in, const RowSums<Arithmetic<T>> rows, const RowInputs<T> made_of,
                    const Problem<Arithmetic<T>> p) {
  using A = Arithmetic<T>;
  constexpr int R = ROWS<A>;
  const Work work = work_of_block<BLOCK<A>>(p.starts, p.sequences, p.heads, p.causal);
  const Sequence s = p.sequence(work.sequence);
  const int q0 = work.first, dim = p.dim;
  if (q0 >= s.length) return;
  sum_rows<BLOCK<A>>(rows, made_of, p, s, work.head, q0);
  SHARED_DYNAMIC(bytes);
  A* queries = reinterpret_cast<A*>(bytes);
  A *gradients = queries + BLOCK<A> * dim, *tile = gradients + BLOCK<A> * dim;
  const int lane = int(threadIdx.x % 32), first = int(threadIdx.x / 32) * R, query = q0 + first;
  const int64_t q_stride = p.query_stride(), kv_stride = p.key_stride();
  const int64_t q_from = p.query_at(s.start + q0, work.head);
  const int64_t kv_from = p.key_at(s.key_start, p.kv_head_of(work.head));
  load_rows(queries, dim, in.q + q_from, q_stride, BLOCK<A>, s.length - q0, dim);
  load_rows(gradients, dim, in.dy + q_from, q_stride, BLOCK<A>, s.length - q0, dim);

  const Range keys = p.keys_of(s, q0, min(q0 + BLOCK<A>, s.length));
  const Scores<A> score = p.scores(work.head);
  const uint32_t row = p.first_row(work.sequence, work.head) + uint32_t(query);
  const int64_t sums_at = work.head * p.tokens + s.start + query;
  A dq_sum[R][D / 32] = {};
  for (int k0 = keys.begin / TILE * TILE; k0 < keys.end; k0 += TILE) {
    const int key = k0 + lane;
    const auto load_tile = [&](const T* x) {
      __syncthreads();
      load_rows(tile, tile_stride(dim), x + kv_from + k0 * kv_stride, kv_stride, TILE, s.keys - k0, dim);
      __syncthreads();
    };
    A x[R], dp[R], mask[R];
    load_tile(in.v);
    products(dp, gradients + first * dim, tile, dim);
    load_tile(in.k);
    products(x, queries + first * dim, tile, dim);
    draw_masks(mask, p, row, k0);
    for (int r = 0; r < R; ++r) {
      A slope;
      x[r] = score_of(p, s, score, x[r], query + r, key, slope);
      const bool exists = query + r < s.length;
      differentiate(x[r], dp[r], slope, mask[r], exists ? rows.norm[sums_at + r] : infinity<A>(),
                    exists ? rows.delta[sums_at + r] : A(0));
    }
    accumulate(dq_sum, dp, tile, dim);
  }
  for (int r = 0; r < R; ++r)
    if (query + r < s.length) store_row(dq + q_from + (first + r) * q_stride, dq_sum[r], p.factor, dim);
}

template <typename T, int D>
void run(const Backward& g, const Inputs& in, const RowSums<Arithmetic<T>>& rows, const RowInputs<T>& made_of,
         const Problem<Arithmetic<T>>& p) {
  using A = Arithmetic<T>;
  const Operands<T> operands{in.q.as<T>(), in.k.as<T>(), in.v.as<T>(), g.dy.as<T>()};
  const size_t shared = size_t(2 * BLOCK<A> * p.dim + TILE * tile_stride(p.dim)) * sizeof(A);
  const auto shape = [&](int64_t rows, int heads) {
    return Launch{blocks_of(rows, BLOCK<A>, heads, p.sequences), dim3(THREADS), shared};
  };
  if (g.dq) launch(query_gradients<T, D>, shape(p.tokens, p.heads), g.dq.as<T>(), operands, rows, made_of, p);
  if (g.dk || g.dv)
    launch(key_gradients<T, D>, shape(p.keys, p.kv_heads), g.dk.as<T>(), g.dv.as<T>(), operands, rows, p);
}

}  // namespace

template <typename T>
void attention_backward_simt(const Backward& g, const Inputs& in, const RowSums<Arithmetic<T>>& rows,
                             const RowInputs<T>& made_of, const Problem<Arithmetic<T>>& p) {
  if (p.dim <= 64) run<T, 64>(g, in, rows, made_of, p);
  else run<T, 256>(g, in, rows, made_of, p);
}

template void attention_backward_simt<float>(const Backward&, const Inputs&, const RowSums<float>&,
                                             const RowInputs<float>&, const Problem<float>&);
template void attention_backward_simt<double>(const Backward&, const Inputs&, const RowSums<double>&,
                                              const RowInputs<double>&, const Problem<double>&);
template void attention_backward_simt<__nv_bfloat16>(const Backward&, const Inputs&, const RowSums<float>&,
                                                     const RowInputs<__nv_bfloat16>&, const Problem<float>&);
template void attention_backward_simt<__half>(const Backward&, const Inputs&, const RowSums<float>&,
                                              const RowInputs<__half>&, const Problem<float>&);

}  // namespace cuda
}  // namespace lowrank
