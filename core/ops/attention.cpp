#include "core/ops/checks.h"

namespace lowrank::ops {
namespace {

void check_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seqlens,
                     const AttentionShape& s) {
  check_float("attention", "q", q);
  check_matrix("attention", "q", q);
  check_like("attention", "k", k, q);
  check_like("attention", "v", v, q);
  check(s.heads > 0 && s.kv_heads > 0 && s.heads % s.kv_heads == 0, Code::Shape, "attention: ", s.heads,
        " heads are no multiple of ", s.kv_heads, " key-value heads");
  check_shape("attention", "q", q, {q.shape[0], int64_t(s.heads) * s.head_dim});
  check_shape("attention", "k", k, {q.shape[0], int64_t(s.kv_heads) * s.head_dim});
  check_shape("attention", "v", v, k.shape);
  check_same_device("attention", q, cu_seqlens);
  check_dtype("attention", "cuSeqlens", cu_seqlens, DType::I32);
  check(cu_seqlens.shape.rank == 1 && cu_seqlens.size() > 0, Code::Shape, "attention: cuSeqlens ", cu_seqlens.shape,
        ", expected [sequences + 1]");
}

}  // namespace

Tensors attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seqlens, AttentionShape shape,
                  Dropout dropout) {
  check_attention(q, k, v, cu_seqlens, shape);
  auto o = like(q);
  auto lse = Tensor::empty(q.device(), {q.shape[0], shape.heads}, q.dtype);
  run(q.device(), "attention", q.device().kernels.attention, o.view(), lse.view(), q.view(), k.view(), v.view(),
      cu_seqlens.view(), shape, dropout);
  return {o, lse};
}

Tensors attention_backward(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o,
                           const Tensor& lse, const Tensor& cu_seqlens, AttentionShape shape, Dropout dropout) {
  check_attention(q, k, v, cu_seqlens, shape);
  check_twin("attention", "dy", dy, q);
  check_twin("attention", "o", o, q);
  check_shape("attention", "lse", lse, {q.shape[0], shape.heads});
  auto dq = like(q), dk = like(k), dv = like(v);
  run(q.device(), "attentionBackward", q.device().kernels.attention_backward, dq.view(), dk.view(), dv.view(),
      dy.view(), q.view(), k.view(), v.view(), o.view(), lse.view(), cu_seqlens.view(), shape, dropout);
  return {dq, dk, dv};
}

}  // namespace lowrank::ops
