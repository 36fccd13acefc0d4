#include "core/ops/checks.h"

namespace lowrank::ops {
namespace {

void check_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seqlens,
                     const AttentionShape& s, const Dropout& dropout) {
  check_float("attention", "q", q);
  check_matrix("attention", "q", q);
  check_like("attention", "k", k, q);
  check_like("attention", "v", v, q);
  check(s.heads > 0 && s.kv_heads > 0 && s.heads % s.kv_heads == 0, Code::Shape, "attention: ", s.heads,
        " heads are no multiple of ", s.kv_heads, " key-value heads");
  check(s.head_dim > 0, Code::Shape, "attention: headDim ", s.head_dim, ", expected 1 or more");
  check_shape("attention", "q", q, {q.shape[0], int64_t(s.heads) * s.head_dim});
  check_shape("attention", "k", k, {q.shape[0], int64_t(s.kv_heads) * s.head_dim});
  check_shape("attention", "v", v, k.shape);
  check_same_device("attention", q, cu_seqlens);
  check_dtype("attention", "cuSeqlens", cu_seqlens, DType::I32);
  check(cu_seqlens.shape.rank == 1 && cu_seqlens.size() > 0, Code::Shape, "attention: cuSeqlens ", cu_seqlens.shape,
        ", expected [sequences + 1]");
  if (!dropout.active()) return;
  check(s.row_stride > 0 && s.max_length <= s.row_stride, Code::Option, "attention: a sequence of ", s.max_length,
        " tokens, dropout counts up to rowStride ", s.row_stride);
  // Sequences, since their product with heads and rows might overflow.
  const int64_t rows = int64_t(s.heads) * s.row_stride, sequences = cu_seqlens.size() - 1;
  constexpr int64_t MOST = int64_t(1) << 32;
  check(rows <= MOST && dropout.row_offset >= 0 && dropout.row_offset <= MOST / rows - sequences, Code::Option,
        "attention: dropout of ", sequences, " sequences from ", dropout.row_offset, " on, with ", s.heads,
        " heads of ", s.row_stride, " rows each, expected at most ", MOST, " rows in one step; lower accumulate");
}

// cu_seqlens covers the N tokens, in order.
void check_sequences(const Tensor& q, const Tensor& cu_seqlens, int64_t max_length) {
  check_in_queue(q.device(), "attention", [view = cu_seqlens.view(), tokens = q.shape[0], max_length] {
    const auto* starts = view.as<int32_t>();
    const int64_t last = view.size() - 1;
    check(starts[0] == 0 && starts[last] == tokens, Code::Option, "cuSeqlens from ", starts[0], " to ", starts[last],
          ", expected 0 to ", tokens);
    for (int64_t i = 0; i < last; ++i) {
      const int64_t length = int64_t(starts[i + 1]) - starts[i];
      check(length >= 0, Code::Option, "cuSeqlens falls from ", starts[i], " to ", starts[i + 1], " at index ", i + 1);
      check(length <= max_length, Code::Option, "sequence ", i, " has ", length, " tokens, maxLength is ", max_length);
    }
  });
}

}  // namespace

Tensors attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seqlens, AttentionShape shape,
                  Dropout dropout) {
  check_attention(q, k, v, cu_seqlens, shape, dropout);
  auto o = like(q);
  auto lse = Tensor::empty(q.device(), {q.shape[0], shape.heads}, sums_of(q.dtype));
  check_sequences(q, cu_seqlens, shape.max_length);
  run(q.device(), "attention", q.device().kernels.attention, o.view(), lse.view(), q.view(), k.view(), v.view(),
      cu_seqlens.view(), shape, dropout);
  return {o, lse};
}

Tensors attention_backward(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o,
                           const Tensor& lse, const Tensor& cu_seqlens, AttentionShape shape, Dropout dropout) {
  check_attention(q, k, v, cu_seqlens, shape, dropout);
  check_twin("attention", "dy", dy, q);
  check_twin("attention", "o", o, q);
  check_same_device("attention", lse, q);
  check_dtype("attention", "lse", lse, sums_of(q.dtype));
  check_shape("attention", "lse", lse, {q.shape[0], shape.heads});
  auto dq = like(q), dk = like(k), dv = like(v);
  check_sequences(q, cu_seqlens, shape.max_length);
  run(q.device(), "attentionBackward", q.device().kernels.attention_backward, dq.view(), dk.view(), dv.view(),
      dy.view(), q.view(), k.view(), v.view(), o.view(), lse.view(), cu_seqlens.view(), shape, dropout);
  return {dq, dk, dv};
}

}  // namespace lowrank::ops
