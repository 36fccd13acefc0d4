// The gradient of position biases: dbias[head, d] = sum over all queries i of p (mask dy v_j - dy o), j = i + d.
//
// A block owns 32 neighbouring distances of one head, a lane each, and passes over all sequences: no sum has two
// owners, and each has a fixed order. Of a tile of queries with the keys they have at these distances, a warp takes
// ROWS queries; lanes read rows of keys that follow each other, whose odd stride keeps them in different banks. q with
// k, then dy with v, pass through the same shared memory. f32 arithmetic (f64 for f64), every pair once: two products
// where the gradients of q, k and v take seven. Bound by loads from shared memory. It runs where the bias itself
// trains, which adapters do not ask for.

#include "cuda/attention/simt.cuh"

namespace lowrank {
namespace {

using namespace cuda;
using namespace simt;

// to[r] = row `at + r` of `from`, 0 where it is outside [0, end).
template <typename A, typename T>
__device__ void load_span(A* to, int to_stride, const T* from, int64_t stride, int at, int rows, int end, int dim) {
  for (int i = int(threadIdx.x); i < rows * dim; i += THREADS) {
    const int r = i / dim, c = i % dim, row = at + r;
    to[r * to_stride + c] = row >= 0 && row < end ? A(from[row * stride + c]) : A(0);
  }
}

// s[r] = rows[first + r] · tile[first + r + lane]
template <typename A, int R>
__device__ void diagonals(A (&s)[R], const A* rows, const A* tile, int first, int dim) {
  const int lane = int(threadIdx.x % 32), stride = tile_stride(dim);
  for (int r = 0; r < R; ++r) s[r] = 0;
  for (int c = 0; c < dim; ++c)
    for (int r = 0; r < R; ++r) s[r] += rows[(first + r) * dim + c] * tile[(first + r + lane) * stride + c];
}

template <typename T>
struct Given {
  Operands<T> operands;
  const T* o;
  const Arithmetic<T>* lse;
};

template <typename A>
struct Blocks {
  A *rows, *tile;  // BLOCK rows of queries, then the BLOCK + 31 of keys that they meet
};

// What the lane's distance gets from R queries of one tile.
template <typename T, int R>
__device__ Arithmetic<T> sum_of_tile(const Given<T>& in, const Problem<Arithmetic<T>>& p, const Sequence& s,
                                     int64_t sequence, int head, int q0, int d0, const Blocks<Arithmetic<T>>& shared) {
  using A = Arithmetic<T>;
  const int lane = int(threadIdx.x % 32), first = int(threadIdx.x / 32) * R, dim = p.dim;
  const int64_t q_stride = p.query_stride(), q_from = p.query_at(s.start, head);
  const int64_t kv_stride = p.key_stride(), kv_from = p.key_at(s.key_start, p.kv_head_of(head));
  const auto load_pair = [&](const T* rows, const T* keys) {
    __syncthreads();
    load_span(shared.rows, dim, rows + q_from, q_stride, q0, BLOCK<A>, s.length, dim);
    load_span(shared.tile, tile_stride(dim), keys + kv_from, kv_stride, q0 + d0, BLOCK<A> + 31, s.keys, dim);
    __syncthreads();
  };
  A x[R], dp[R], sum = 0;
  load_pair(in.operands.q, in.operands.k);
  diagonals(x, shared.rows, shared.tile, first, dim);
  load_pair(in.operands.dy, in.operands.v);
  diagonals(dp, shared.rows, shared.tile, first, dim);
  for (int r = 0; r < R; ++r) {
    const int query = q0 + first + r, key = query + d0 + lane;
    if (query >= s.length) continue;
    const T* o = in.o + q_from + query * q_stride;
    A delta = 0;
    for (int c = lane; c < dim; c += 32) delta += shared.rows[(first + r) * dim + c] * A(o[c]);
    delta = reduce_warp(delta, Sum{});
    const A norm = in.lse[(s.start + query) * p.heads + head];
    if (key < 0 || key >= s.keys || !p.allows(query, key) || norm == -infinity<A>()) continue;
    A slope, mask = 1;
    const A score = p.scores(head)(x[r], key - query, slope);
    if (p.drops()) {
      const MaskBytes drawn = mask_bytes(p.dropout, p.first_row(sequence, head) + uint32_t(query), dropout_group(key));
      mask = byte_of(drawn, dropout_byte_of(key)) < p.dropout.keep ? p.multiplier : A(0);
    }
    sum += exp2(score - A(LOG2_E) * norm) * (mask * dp[r] - delta);
  }
  return sum;
}

template <typename T>
__global__ void __launch_bounds__(THREADS, 1)
    bias_gradients(Arithmetic<T>* dbias, const Given<T> in, const Problem<Arithmetic<T>> p, int tiles) {
  using A = Arithmetic<T>;
  const int head = int(blockIdx.x) / tiles, reach = int(p.reach);
  const int lane = int(threadIdx.x % 32), d0 = int(blockIdx.x) % tiles * 32 - reach;
  SHARED_DYNAMIC(bytes);
  A* rows = reinterpret_cast<A*>(bytes);
  const Blocks<A> shared{rows, rows + BLOCK<A> * p.dim};
  A sum = 0;
  for (int64_t i = 0; i < p.sequences && !(p.causal && d0 > 0); ++i) {
    const Sequence s = p.sequence(i);
    const int end = min(s.length, s.keys - d0);
    for (int q0 = max(0, -(d0 + 31)); q0 < end; q0 += BLOCK<A>)
      sum += sum_of_tile<T, ROWS<A>>(in, p, s, i, head, q0, d0, shared);
  }
  SHARED(sums, Array<A, WARPS, 32>);
  sums[threadIdx.x / 32][lane] = sum;
  __syncthreads();
  if (threadIdx.x >= 32 || d0 + lane > reach) return;
  for (int warp = 1; warp < WARPS; ++warp) sum += sums[warp][lane];
  dbias[int64_t(head) * (2 * reach + 1) + d0 + lane + reach] = sum;
}

}  // namespace

void cuda::attention_bias_backward(View dbias, View dy, View q, View k, View v, View o, View lse, View cu_seqlens,
                                   View key_seqlens, View bias, AttentionShape shape, Dropout dropout) {
  dispatch(q, [&](auto zero) {
    using T = decltype(zero);
    using A = Arithmetic<T>;
    const auto p = problem_of<A>(q, k, cu_seqlens, key_seqlens, bias, shape, dropout);
    const Given<T> in{{q.as<T>(), k.as<T>(), v.as<T>(), dy.as<T>()}, o.as<T>(), lse.as<A>()};
    const int64_t tiles = ceil_div(dbias.cols(), 32);
    const size_t bytes = size_t(BLOCK<A> * p.dim + (BLOCK<A> + 31) * tile_stride(p.dim)) * sizeof(A);
    launch(bias_gradients<T>, Launch{dim3(unsigned(tiles * p.heads)), dim3(THREADS), bytes}, dbias.as<A>(), in, p,
           int(tiles));
  });
}

}  // namespace lowrank
