// Attention and its gradients: which kernels serve which types, and the sums over rows that the gradients share.
//
// row_sums: dy o of each query and head, one warp each; one pass over dy and o, f32 sums (f64 for f64). Bound by
// bandwidth: the target is 2 * bytes(o) / peak.

#include "cuda/attention/problem.cuh"

namespace lowrank {
namespace {

using namespace cuda;
constexpr int WARPS = 8;

template <typename T>
__global__ void row_sums(RowSums<Arithmetic<T>> rows, const T* dy, const T* o, const Arithmetic<T>* lse, int64_t tokens,
                         int heads, int dim) {
  using A = Arithmetic<T>;
  const int64_t pair = int64_t(blockIdx.x) * WARPS + threadIdx.x / 32;
  if (pair >= tokens * heads) return;
  A sum = 0;
  for (int c = int(threadIdx.x % 32); c < dim; c += 32) sum += A(dy[pair * dim + c]) * A(o[pair * dim + c]);
  sum = reduce_warp(sum, Sum{});
  if (threadIdx.x % 32 != 0) return;
  const int64_t at = pair % heads * tokens + pair / heads;
  rows.norm[at] = lse[pair] == -infinity<A>() ? infinity<A>() : A(LOG2_E) * lse[pair];
  rows.delta[at] = sum;
}

template <typename T>
RowSums<Arithmetic<T>> prepare_rows(Scratch& sums, const View& dy, const View& o, const View& lse,
                                    const AttentionShape& s) {
  using A = Arithmetic<T>;
  const int64_t tokens = o.dims[0], pairs = tokens * s.heads, apart = ceil_div(pairs, 4) * 4;
  A* memory = sums.take<A>(2 * apart);
  const RowSums<A> rows{memory, memory + apart};
  launch(row_sums<T>, ceil_div(pairs, WARPS), 32 * WARPS, rows, dy.as<T>(), o.as<T>(), lse.as<A>(), tokens, s.heads,
         s.head_dim);
  return rows;
}

// Whether Hopper's kernels take it.
bool on_hopper(const AttentionShape& s, const View& q, const View& k) {
  return hopper() && (s.head_dim == 64 || s.head_dim == 128) && q.dims[0] > 0 && k.dims[0] > 0;
}

// Whether tensor cores take what is in half precision: in whole chunks of 16 bytes.
template <typename... Views>
bool on_tensor_cores(const AttentionShape& s, const Views&... views) {
  return s.head_dim % 8 == 0 && (aligned(views) && ...);
}

}  // namespace

void cuda::attention(View o, View lse, View q, View k, View v, View cu_seqlens, View key_seqlens, View bias,
                     AttentionShape shape, Dropout dropout) {
  dispatch(q, [&](auto zero) {
    using T = decltype(zero);
    const auto p = problem_of<Arithmetic<T>>(q, k, cu_seqlens, key_seqlens, bias, shape, dropout);
    if constexpr (sizeof(T) == 2) {
      if (on_tensor_cores(shape, o, q, k, v)) {
        if (on_hopper(shape, q, k)) return attention_hopper<T>({o, lse}, {q, k, v}, p);
        return attention_mma<T>({o, lse}, {q, k, v}, p);
      }
    }
    attention_simt<T>({o, lse}, {q, k, v}, p);
  });
}

void cuda::attention_backward(View dq, View dk, View dv, View dy, View q, View k, View v, View o, View lse,
                              View cu_seqlens, View key_seqlens, View bias, AttentionShape shape, Dropout dropout) {
  dispatch(q, [&](auto zero) {
    using T = decltype(zero);
    const auto p = problem_of<Arithmetic<T>>(q, k, cu_seqlens, key_seqlens, bias, shape, dropout);
    Scratch sums(Owner::RowSums);
    const auto rows = prepare_rows<T>(sums, dy, o, lse, shape);
    if constexpr (sizeof(T) == 2) {
      if (on_tensor_cores(shape, q, k, v, dy, dq, dk, dv)) {
        const Backward g{dq, dk, dv, dy};
        if (on_hopper(shape, q, k)) {
          if (dk || dv) key_gradients_hopper<T>(g, {q, k, v}, rows, p);
          if (dq) query_gradients_hopper<T>(g, {q, k, v}, rows, p);
          return;
        }
        if (dk || dv) key_gradients_on_tensor_cores<T>(g, {q, k, v}, rows, p);
        if (dq) query_gradients_on_tensor_cores<T>(g, {q, k, v}, rows, p);
        return;
      }
    }
    attention_backward_simt<T>({dq, dk, dv, dy}, {q, k, v}, rows, p);
  });
}

}  // namespace lowrank
