// The specification of attention over packed sequences: one query at a time. f32 takes the tiled code of cpu/vector.
#include "cpu/attention.h"

#include <algorithm>
#include <limits>

#include "cpu/dispatch.h"
#include "cpu/philox.h"
#include "cpu/pieces.h"

namespace lowrank {
namespace {

using namespace cpu;

using Call = AttentionCall;

// One sequence under one query head.
template <typename T>
struct Head {
  // Keys [first, end) that a query sees.
  int64_t first_key(int64_t query) const { return window ? std::max<int64_t>(0, query - window + 1) : 0; }
  int64_t end_key(int64_t query) const { return std::min(keys, causal ? query + 1 : window ? query + window : keys); }
  const T* query(const View& x, int64_t t) const { return x.as<T>() + ((start + t) * heads + head) * dim; }
  const T* key(const View& x, int64_t t) const { return x.as<T>() + ((key_start + t) * kv_heads + kv_head) * dim; }
  int64_t token(int64_t t) const { return (start + t) * heads + head; }

  // multiplier of the probability of (query, key)
  T mask(int64_t query, int64_t key) const {
    if (!dropout.active()) return 1;
    return dropout_byte(dropout, first_row + uint64_t(query), key) < dropout.keep ? T(dropout.multiplier()) : T(0);
  }

  int64_t start, length, key_start, keys, head, kv_head, heads, kv_heads, dim, window;
  bool causal;
  uint64_t first_row;
  Dropout dropout;
  Scores<T> score;
};

template <typename T>
Head<T> head_of(const Call& c, int64_t sequence, int64_t head) {
  const AttentionShape& s = c.shape;
  const int32_t* starts = c.cu_seqlens.as<int32_t>() + sequence;
  const int32_t* key_starts = c.key_seqlens ? c.key_seqlens.as<int32_t>() + sequence : starts;
  Head<T> h;
  h.start = starts[0], h.length = starts[1] - starts[0];
  h.key_start = key_starts[0], h.keys = key_starts[1] - key_starts[0];
  h.head = head, h.kv_head = head / (s.heads / s.kv_heads);
  h.heads = s.heads, h.kv_heads = s.kv_heads, h.dim = s.head_dim;
  h.window = s.window, h.causal = s.causal != 0;
  h.first_row = uint64_t(((c.dropout.row_offset + sequence) * s.heads + head) * s.row_stride);
  h.dropout = c.dropout;
  h.score = scores_of<T>(s, c.bias, head);
  return h;
}

// o = sum_j mask_j p_j v_j,  p_j = exp(x_j - lse). A query that no key answers gives 0 and lse = -inf.
template <typename T>
void forward_query(const Head<T>& h, const Call& c, T* o, T* lse, int64_t i) {
  const int64_t first = h.first_key(i), end = h.end_key(i);
  T* p = static_cast<T*>(scratch(6, size_t(std::max(end, first)) * sizeof(T)));
  T maximum = -std::numeric_limits<T>::infinity(), sum = 0;
  for (int64_t j = first; j < end; ++j) {
    p[j] = h.score(dot(h.query(c.q, i), h.key(c.k, j), h.dim), i, j).value;
    if (!(p[j] <= maximum)) maximum = p[j];
  }
  for (int64_t d = 0; d < h.dim; ++d) o[d] = 0;
  *lse = maximum;
  if (maximum == -std::numeric_limits<T>::infinity()) return;
  for (int64_t j = first; j < end; ++j) sum += p[j] = std::exp(p[j] - maximum);
  for (int64_t j = first; j < end; ++j) {
    const T weight = p[j] / sum * h.mask(i, j);
    for (int64_t d = 0; d < h.dim; ++d) o[d] += weight * h.key(c.v, j)[d];
  }
  *lse = maximum + std::log(sum);
}

// ds_j = slope_j p_j (mask_j dy v_j - dy o);  dq += ds_j k_j;  dk_j += ds_j q;  dv_j += mask_j p_j dy
template <typename T>
void backward_query(const Head<T>& h, const Call& c, int64_t i) {
  const T *q = h.query(c.q, i), *dy = h.query(c.dy, i);
  const T norm = c.lse.as<T>()[h.token(i)], delta = dot(dy, h.query(c.o, i), h.dim);
  T* dq = c.dq ? const_cast<T*>(h.query(c.dq, i)) : nullptr;
  for (int64_t d = 0; dq && d < h.dim; ++d) dq[d] = 0;
  if (norm == -std::numeric_limits<T>::infinity()) return;
  for (int64_t j = h.first_key(i); j < h.end_key(i); ++j) {
    const T* k = h.key(c.k, j);
    const auto score = h.score(dot(q, k, h.dim), i, j);
    const T p = std::exp(score.value - norm), mask = h.mask(i, j);
    const T ds = score.slope * p * (mask * dot(dy, h.key(c.v, j), h.dim) - delta);
    T* dk = c.dk ? const_cast<T*>(h.key(c.dk, j)) : nullptr;
    T* dv = c.dv ? const_cast<T*>(h.key(c.dv, j)) : nullptr;
    for (int64_t d = 0; d < h.dim; ++d) {
      if (dq) dq[d] += ds * k[d];
      if (dk) dk[d] += ds * q[d];
      if (dv) dv[d] += mask * p * dy[d];
    }
  }
}

// dbias_(j - i) += p_j (mask_j dy v_j - dy o)
template <typename T>
void bias_query(const Head<T>& h, const Call& c, T* dbias, int64_t i) {
  const T *q = h.query(c.q, i), *dy = h.query(c.dy, i);
  const T norm = c.lse.as<T>()[h.token(i)], delta = dot(dy, h.query(c.o, i), h.dim);
  if (norm == -std::numeric_limits<T>::infinity()) return;
  for (int64_t j = h.first_key(i); j < h.end_key(i); ++j) {
    const T p = std::exp(h.score(dot(q, h.key(c.k, j), h.dim), i, j).value - norm);
    dbias[j - i] += p * (h.mask(i, j) * dot(dy, h.key(c.v, j), h.dim) - delta);
  }
}

}  // namespace

void cpu::attention(View o, View lse, View q, View k, View v, View cu_seqlens, View key_seqlens, View bias,
                    AttentionShape shape, Dropout dropout) {
  const Call c{q, k, v, cu_seqlens, key_seqlens, bias, shape, dropout, o, lse, {}, {}, {}, {}, {}};
  if (q.dtype != DType::F64) return attention_tiled(c);
  dispatch(q, [&](auto zero) {
    using T = decltype(zero);
    parallel_for((cu_seqlens.size() - 1) * shape.heads, [&](int64_t piece) {
      const auto h = head_of<T>(c, piece / shape.heads, piece % shape.heads);
      for (int64_t i = 0; i < h.length; ++i)
        forward_query(h, c, const_cast<T*>(h.query(o, i)), lse.as<T>() + h.token(i), i);
    });
  });
}

// The query heads that share a key-value head are one piece: they add to the same dk and dv.
void cpu::attention_backward(View dq, View dk, View dv, View dy, View q, View k, View v, View o, View lse,
                             View cu_seqlens, View key_seqlens, View bias, AttentionShape shape, Dropout dropout) {
  const Call c{q, k, v, cu_seqlens, key_seqlens, bias, shape, dropout, o, lse, dy, dq, dk, dv, {}};
  if (q.dtype != DType::F64) return attention_backward_tiled(c);
  dispatch(q, [&](auto zero) {
    using T = decltype(zero);
    const int64_t group = shape.heads / shape.kv_heads;
    if (dk) fill(dk, 0);
    if (dv) fill(dv, 0);
    parallel_for((cu_seqlens.size() - 1) * shape.kv_heads, [&](int64_t piece) {
      const int64_t sequence = piece / shape.kv_heads, kv_head = piece % shape.kv_heads;
      for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        const auto h = head_of<T>(c, sequence, head);
        for (int64_t i = 0; i < h.length; ++i) backward_query(h, c, i);
      }
    });
  });
}

// The row of a head is one piece: all its pairs add to it.
void cpu::attention_bias_backward(View dbias, View dy, View q, View k, View v, View o, View lse, View cu_seqlens,
                                  View key_seqlens, View bias, AttentionShape shape, Dropout dropout) {
  const Call c{q, k, v, cu_seqlens, key_seqlens, bias, shape, dropout, o, lse, dy, {}, {}, {}, dbias};
  if (q.dtype != DType::F64) return attention_bias_backward_tiled(c);
  dispatch(q, [&](auto zero) {
    using T = decltype(zero);
    fill(dbias, 0);
    parallel_for(shape.heads, [&](int64_t head) {
      T* row = dbias.as<T>() + head * dbias.cols() + dbias.cols() / 2;
      for (int64_t sequence = 0; sequence < cu_seqlens.size() - 1; ++sequence) {
        const auto h = head_of<T>(c, sequence, head);
        for (int64_t i = 0; i < h.length; ++i) bias_query(h, c, row, i);
      }
    });
  });
}

}  // namespace lowrank
