#include <algorithm>

#include "core/ops/checks.h"

namespace lowrank::ops {
namespace {

struct Inputs {
  const Tensor &q, &k, &v, &cu_seqlens;
  Maybe key_seqlens, bias;
};

void check_seqlens(const char* what, const Tensor& seqlens, const Tensor& q) {
  check_same_device("attention", q, seqlens);
  check_dtype("attention", what, seqlens, DType::I32);
  check(seqlens.shape.rank == 1 && seqlens.size() > 0, Code::Shape, "attention: ", what, " ", seqlens.shape,
        ", expected [sequences + 1]");
}

void check_heads(const char* op, const Tensor& q, const AttentionShape& s) {
  check_float(op, "q", q);
  check_matrix(op, "q", q);
  check(s.heads > 0 && s.kv_heads > 0 && s.heads % s.kv_heads == 0, Code::Shape, op, ": ", s.heads,
        " heads are no multiple of ", s.kv_heads, " key-value heads");
  check(s.head_dim > 0, Code::Shape, op, ": headDim ", s.head_dim, ", expected 1 or more");
  constexpr int32_t MOST = 256;
  check(q.device().kind == DeviceKind::Cpu || s.head_dim <= MOST, Code::Unsupported, op, ": headDim ", s.head_dim,
        " on ", q.device().name(), ", at most ", MOST, "; use the CPU");
  check_shape(op, "q", q, {q.shape[0], int64_t(s.heads) * s.head_dim});
  check(s.softcap >= 0, Code::Option, op, ": softcap ", s.softcap, ", expected 0 or more");
}

// bias [heads, 2L - 1], where no distance reaches L = `least`.
void check_bias_table(const char* op, Maybe bias, const Tensor& q, const AttentionShape& s, int64_t least) {
  if (!bias) return;
  check_same_device(op, *bias, q);
  check_dtype(op, "bias", *bias, sums_of(q.dtype));
  check_matrix(op, "bias", *bias);
  const int64_t width = bias->shape[1];
  check(bias->shape[0] == s.heads && width % 2 == 1 && width >= 2 * least - 1, Code::Shape, op, ": bias ", bias->shape,
        ", expected [", s.heads, ", 2L - 1] with L at least ", std::max<int64_t>(least, 1));
}

// Sequences, since their product with heads and rows might overflow.
void check_dropout(const AttentionShape& s, const Dropout& dropout, int64_t sequences) {
  if (!dropout.active()) return;
  check(s.row_stride > 0 && s.max_length <= s.row_stride, Code::Option, "attention: a sequence of ", s.max_length,
        " tokens, dropout counts up to rowStride ", s.row_stride);
  const int64_t rows = int64_t(s.heads) * s.row_stride;
  constexpr int64_t MOST = int64_t(1) << 32;
  check(rows <= MOST && dropout.row_offset >= 0 && dropout.row_offset <= MOST / rows - sequences, Code::Option,
        "attention: dropout of ", sequences, " sequences from ", dropout.row_offset, " on, with ", s.heads,
        " heads of ", s.row_stride, " rows each, expected at most ", MOST, " rows in one step; lower accumulate");
}

void check_attention(const Inputs& in, const AttentionShape& s, const Dropout& dropout) {
  const auto& [q, k, v, cu_seqlens, key_seqlens, bias] = in;
  check_heads("attention", q, s);
  check_like("attention", "k", k, q);
  check_like("attention", "v", v, q);
  check_matrix("attention", "k", k);
  check_shape("attention", "k", k, {(key_seqlens ? k : q).shape[0], int64_t(s.kv_heads) * s.head_dim});
  check_shape("attention", "v", v, k.shape);
  check_seqlens("cuSeqlens", cu_seqlens, q);
  if (key_seqlens) {
    check_seqlens("keySeqlens", *key_seqlens, q);
    check_shape("attention", "keySeqlens", *key_seqlens, cu_seqlens.shape);
  }
  check_bias_table("attention", bias, q, s, key_seqlens ? std::max(s.max_length, s.max_keys) : s.max_length);
  check_dropout(s, dropout, cu_seqlens.size() - 1);
}

// Starts from 0 to `tokens`, in order, none longer than `longest`.
void check_sequences(const char* what, const char* limit, const Tensor& seqlens, int64_t tokens, int64_t longest) {
  check_in_queue(seqlens.device(), "attention", [what, limit, view = seqlens.view(), tokens, longest] {
    const auto* starts = view.as<int32_t>();
    const int64_t last = view.size() - 1;
    check(starts[0] == 0 && starts[last] == tokens, Code::Option, what, " from ", starts[0], " to ", starts[last],
          ", expected 0 to ", tokens);
    for (int64_t i = 0; i < last; ++i) {
      const int64_t length = int64_t(starts[i + 1]) - starts[i];
      check(length >= 0, Code::Option, what, " falls from ", starts[i], " to ", starts[i + 1], " at index ", i + 1);
      check(length <= longest, Code::Option, "sequence ", i, " has ", length, " tokens, ", limit, " is ", longest);
    }
  });
}

void check_all_sequences(const Inputs& in, const AttentionShape& s) {
  check_sequences("cuSeqlens", "maxLength", in.cu_seqlens, in.q.shape[0], s.max_length);
  if (in.key_seqlens) check_sequences("keySeqlens", "maxKeyLength", *in.key_seqlens, in.k.shape[0], s.max_keys);
}

}  // namespace

Tensors attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seqlens, Maybe key_seqlens,
                  Maybe bias, AttentionShape shape, Dropout dropout) {
  const Inputs in{q, k, v, cu_seqlens, key_seqlens, bias};
  check_attention(in, shape, dropout);
  auto o = like(q);
  auto lse = Tensor::empty(q.device(), {q.shape[0], shape.heads}, sums_of(q.dtype));
  check_all_sequences(in, shape);
  run(q.device(), "attention", q.device().kernels.attention, o.view(), lse.view(), q.view(), k.view(), v.view(),
      cu_seqlens.view(), view_of(key_seqlens), view_of(bias), shape, dropout);
  return {o, lse};
}

namespace {

void check_results(const Tensor& dy, const Tensor& q, const Tensor& o, const Tensor& lse, const AttentionShape& s) {
  check_twin("attention", "dy", dy, q);
  check_twin("attention", "o", o, q);
  check_same_device("attention", lse, q);
  check_dtype("attention", "lse", lse, sums_of(q.dtype));
  check_shape("attention", "lse", lse, {q.shape[0], s.heads});
}

}  // namespace

Tensors attention_backward(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o,
                           const Tensor& lse, const Tensor& cu_seqlens, Maybe key_seqlens, Maybe bias,
                           AttentionShape shape, Dropout dropout) {
  const Inputs in{q, k, v, cu_seqlens, key_seqlens, bias};
  check_attention(in, shape, dropout);
  check_results(dy, q, o, lse, shape);
  auto dq = like(q), dk = like(k), dv = like(v);
  check_all_sequences(in, shape);
  run(q.device(), "attentionBackward", q.device().kernels.attention_backward, dq.view(), dk.view(), dv.view(),
      dy.view(), q.view(), k.view(), v.view(), o.view(), lse.view(), cu_seqlens.view(), view_of(key_seqlens),
      view_of(bias), shape, dropout);
  return {dq, dk, dv};
}

Tensor attention_bias_backward(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o,
                               const Tensor& lse, const Tensor& cu_seqlens, Maybe key_seqlens, const Tensor& bias,
                               AttentionShape shape, Dropout dropout) {
  const Inputs in{q, k, v, cu_seqlens, key_seqlens, &bias};
  check_attention(in, shape, dropout);
  check_results(dy, q, o, lse, shape);
  auto dbias = like(bias);
  check_all_sequences(in, shape);
  run(q.device(), "attentionBiasBackward", q.device().kernels.attention_bias_backward, dbias.view(), dy.view(),
      q.view(), k.view(), v.view(), o.view(), lse.view(), cu_seqlens.view(), view_of(key_seqlens), bias.view(), shape,
      dropout);
  return dbias;
}

Tensor attention_decode(const Tensor& q, const Tensor& k_cache, const Tensor& v_cache, const Tensor& lengths,
                        const Tensor& pages, Maybe bias, AttentionShape shape) {
  const char* op = "attentionDecode";
  check_heads(op, q, shape);
  check_same_device(op, k_cache, q);
  check(k_cache.dtype == q.dtype || (k_cache.dtype == DType::BF16 && q.dtype == DType::F32), Code::DType, op,
        ": kCache is ", name_of(k_cache.dtype), ", q is ", name_of(q.dtype));
  check_like(op, "vCache", v_cache, k_cache);
  check(k_cache.shape.rank == 3, Code::Shape, op, ": kCache ", k_cache.shape, ", expected [pages, page, width]");
  const int64_t rows = q.shape[0], count = k_cache.shape[0], page = k_cache.shape[1];
  check_shape(op, "kCache", k_cache, {count, page, int64_t(shape.kv_heads) * shape.head_dim});
  check_shape(op, "vCache", v_cache, k_cache.shape);
  for (const auto& [what, t] : {std::pair{"lengths", &lengths}, std::pair{"pages", &pages}}) {
    check_same_device(op, *t, q);
    check_dtype(op, what, *t, DType::I32);
  }
  check_shape(op, "lengths", lengths, {rows});
  check_matrix(op, "pages", pages);
  check_shape(op, "pages", pages, {rows, pages.shape[1]});
  const int64_t capacity = pages.shape[1] * page;
  check(count > 0 || capacity == 0, Code::Shape, op, ": pages ", pages.shape, " of a cache ", k_cache.shape);
  check_bias_table(op, bias, q, shape, capacity);
  auto o = like(q);
  check_indices(op, "length", lengths, capacity + 1);
  check_indices(op, "page", pages, count);
  run(q.device(), op, q.device().kernels.attention_decode, o.view(), q.view(), k_cache.view(), v_cache.view(),
      lengths.view(), pages.view(), view_of(bias), shape);
  return o;
}

}  // namespace lowrank::ops
