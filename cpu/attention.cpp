// The specification of attention over packed sequences: one query at a time. f32 takes the tiled code of cpu/vector.
#include "cpu/attention.h"

#include <cmath>
#include <limits>

#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/philox.h"
#include "cpu/pieces.h"

namespace lowrank {
namespace {

using namespace cpu;

// One sequence under one query head.
template <typename T>
struct Head {
  int64_t keys(int64_t query) const { return causal ? query + 1 : length; }
  const T* query(const View& x, int64_t t) const { return x.as<T>() + ((start + t) * heads + head) * dim; }
  const T* key(const View& x, int64_t t) const { return x.as<T>() + ((start + t) * kv_heads + kv_head) * dim; }
  int64_t token(int64_t t) const { return (start + t) * heads + head; }

  // multiplier of the probability of (query, key)
  T mask(int64_t query, int64_t key) const {
    if (!dropout.active()) return 1;
    return dropout_byte(dropout, first_row + uint64_t(query), key) < dropout.keep ? T(dropout.multiplier()) : T(0);
  }

  int64_t start, length, head, kv_head, heads, kv_heads, dim;
  bool causal;
  uint64_t first_row;
  Dropout dropout;
};

template <typename T>
Head<T> head_of(const View& cu_seqlens, const AttentionShape& s, const Dropout& dropout, int64_t sequence,
                int64_t head) {
  const int32_t* starts = cu_seqlens.as<int32_t>();
  const int64_t length = starts[sequence + 1] - starts[sequence], group = s.heads / s.kv_heads;
  const int64_t row = ((dropout.row_offset + sequence) * s.heads + head) * s.row_stride;
  return {starts[sequence], length,     head,          head / group,  s.heads,
          s.kv_heads,       s.head_dim, s.causal != 0, uint64_t(row), dropout};
}

template <typename T>
T dot(const T* a, const T* b, int64_t count) {
  T sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

// o = sum_j mask_j p_j v_j,  p_j = exp(scale q k_j - lse). A query that no key answers gives 0 and lse = -inf.
template <typename T>
void forward_query(const Head<T>& h, T* o, T* lse, const View& q, const View& k, const View& v, T scale, int64_t i) {
  const int64_t keys = h.keys(i);
  T* p = static_cast<T*>(scratch(6, size_t(keys) * sizeof(T)));
  T maximum = -std::numeric_limits<T>::infinity(), sum = 0;
  for (int64_t j = 0; j < keys; ++j) {
    p[j] = scale * dot(h.query(q, i), h.key(k, j), h.dim);
    if (!(p[j] <= maximum)) maximum = p[j];
  }
  for (int64_t c = 0; c < h.dim; ++c) o[c] = 0;
  *lse = maximum;
  if (maximum == -std::numeric_limits<T>::infinity()) return;
  for (int64_t j = 0; j < keys; ++j) sum += p[j] = std::exp(p[j] - maximum);
  for (int64_t j = 0; j < keys; ++j) {
    const T weight = p[j] / sum * h.mask(i, j);
    for (int64_t c = 0; c < h.dim; ++c) o[c] += weight * h.key(v, j)[c];
  }
  *lse = maximum + std::log(sum);
}

template <typename T>
struct Gradients {
  View dq, dk, dv;
};

// ds_j = p_j (mask_j dy v_j - dy o);  dq += scale ds_j k_j;  dk_j += scale ds_j q;  dv_j += mask_j p_j dy
template <typename T>
void backward_query(const Head<T>& h, const Gradients<T>& g, const View& dy, const View& q, const View& k,
                    const View& v, const View& o, const View& lse, T scale, int64_t i) {
  const T norm = lse.as<T>()[h.token(i)], delta = dot(h.query(dy, i), h.query(o, i), h.dim);
  T* dq = g.dq ? const_cast<T*>(h.query(g.dq, i)) : nullptr;
  for (int64_t c = 0; dq && c < h.dim; ++c) dq[c] = 0;
  if (norm == -std::numeric_limits<T>::infinity()) return;
  for (int64_t j = 0; j < h.keys(i); ++j) {
    const T p = std::exp(scale * dot(h.query(q, i), h.key(k, j), h.dim) - norm), mask = h.mask(i, j);
    const T ds = scale * p * (mask * dot(h.query(dy, i), h.key(v, j), h.dim) - delta);
    T* dk = g.dk ? const_cast<T*>(h.key(g.dk, j)) : nullptr;
    T* dv = g.dv ? const_cast<T*>(h.key(g.dv, j)) : nullptr;
    for (int64_t c = 0; c < h.dim; ++c) {
      if (dq) dq[c] += ds * h.key(k, j)[c];
      if (dk) dk[c] += ds * h.query(q, i)[c];
      if (dv) dv[c] += mask * p * h.query(dy, i)[c];
    }
  }
}

}  // namespace

void cpu::attention(View o, View lse, View q, View k, View v, View cu_seqlens, AttentionShape shape, Dropout dropout) {
  if (q.dtype == DType::F32) return attention_tiled(o, lse, q, k, v, cu_seqlens, shape, dropout);
  dispatch(q, [&](auto zero) {
    using T = decltype(zero);
    const int64_t sequences = cu_seqlens.size() - 1;
    parallel_for(sequences * shape.heads, [&](int64_t piece) {
      const auto h = head_of<T>(cu_seqlens, shape, dropout, piece / shape.heads, piece % shape.heads);
      for (int64_t i = 0; i < h.length; ++i)
        forward_query(h, const_cast<T*>(h.query(o, i)), lse.as<T>() + h.token(i), q, k, v, T(shape.scale), i);
    });
  });
}

// The query heads that share a key-value head are one piece: they add to the same dk and dv.
void cpu::attention_backward(View dq, View dk, View dv, View dy, View q, View k, View v, View o, View lse,
                             View cu_seqlens, AttentionShape shape, Dropout dropout) {
  if (q.dtype == DType::F32)
    return attention_backward_tiled(dq, dk, dv, dy, q, k, v, o, lse, cu_seqlens, shape, dropout);
  dispatch(q, [&](auto zero) {
    using T = decltype(zero);
    const int64_t sequences = cu_seqlens.size() - 1, group = shape.heads / shape.kv_heads;
    if (dk) fill(dk, 0);
    if (dv) fill(dv, 0);
    parallel_for(sequences * shape.kv_heads, [&](int64_t piece) {
      const int64_t sequence = piece / shape.kv_heads, kv_head = piece % shape.kv_heads;
      for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        const auto h = head_of<T>(cu_seqlens, shape, dropout, sequence, head);
        for (int64_t i = 0; i < h.length; ++i)
          backward_query(h, Gradients<T>{dq, dk, dv}, dy, q, k, v, o, lse, T(shape.scale), i);
      }
    });
  });
}

}  // namespace lowrank
