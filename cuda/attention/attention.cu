// Attention and its gradients: which kernels serve which types, and the sums over rows that the gradients share.
//
// The sums over rows, dy o of each query and head in f32 (f64 for f64), are made by the kernel of dq, whose blocks own
// them, before that of dk and dv, which reads them; where nobody wants dq, by a kernel of their own, one warp each.

#include "cuda/attention/problem.cuh"

namespace lowrank {
namespace {

using namespace cuda;
constexpr int WARPS = 8;

template <typename T>
__global__ void row_sums(RowSums<Arithmetic<T>> rows, RowInputs<T> in, int64_t tokens, int heads, int dim) {
  const int64_t pair = int64_t(blockIdx.x) * WARPS + threadIdx.x / 32;
  if (pair < tokens * heads) sum_row(rows, in, tokens, heads, dim, pair / heads, int(pair % heads));
}

template <typename A>
RowSums<A> take_rows(Scratch& sums, int64_t pairs) {
  const int64_t apart = ceil_div(pairs, 4) * 4;
  A* memory = sums.take<A>(2 * apart);
  return {memory, memory + apart};
}

// Whether Hopper's kernels take it.
bool on_hopper(const AttentionShape& s, const View& q, const View& k) {
  return hopper() && (s.head_dim == 64 || s.head_dim == 128) && q.dims[0] > 0 && k.dims[0] > 0;
}

// Whether one launch has all three gradients.
bool is_short(const AttentionShape& s, const View& key_seqlens, const Backward& g) {
  return s.head_dim == 64 && s.max_length <= SHORT && s.heads == s.kv_heads && !key_seqlens && g.dq && g.dk && g.dv;
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
    const int64_t pairs = p.tokens * p.heads;
    const auto rows = take_rows<Arithmetic<T>>(sums, pairs);
    const RowInputs<T> made_of = {dy.as<T>(), o.as<T>(), lse.as<Arithmetic<T>>()};
    if (!dq) launch(row_sums<T>, ceil_div(pairs, WARPS), 32 * WARPS, rows, made_of, p.tokens, p.heads, p.dim);
    if constexpr (sizeof(T) == 2) {
      if (on_tensor_cores(shape, q, k, v, dy, dq, dk, dv)) {
        const Backward g{dq, dk, dv, dy};
        if (on_hopper(shape, q, k)) {
          if (is_short(shape, key_seqlens, g)) return short_gradients_hopper<T>(g, {q, k, v}, rows, made_of, p);
          if (dq) query_gradients_hopper<T>(g, {q, k, v}, rows, made_of, p);
          if (dk || dv) key_gradients_hopper<T>(g, {q, k, v}, rows, p);
          return;
        }
        if (dq) query_gradients_on_tensor_cores<T>(g, {q, k, v}, rows, made_of, p);
        if (dk || dv) key_gradients_on_tensor_cores<T>(g, {q, k, v}, rows, p);
        return;
      }
    }
    attention_backward_simt<T>({dq, dk, dv, dy}, {q, k, v}, rows, made_of, p);
  });
}

}  // namespace lowrank
