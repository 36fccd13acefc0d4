// Attention of one new token per sequence to a cache of keys and values.
#include <algorithm>
#include <limits>

#include "cpu/attention.h"
#include "cpu/dispatch.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank {
namespace {

using namespace cpu;

// Of `count` keys and values, `stride` apart; the query is the last of `length`.
template <typename T>
void decode(T* o, const T* q, const T* k, const T* v, int64_t stride, int64_t length, int64_t window, int64_t dim,
            const Scores<T>& score) {
  const int64_t first = window ? std::max<int64_t>(0, length - window) : 0;
  T* p = static_cast<T*>(scratch(6, size_t(length) * sizeof(T)));
  T maximum = -std::numeric_limits<T>::infinity(), sum = 0;
  for (int64_t j = first; j < length; ++j) {
    p[j] = score(dot(q, k + j * stride, dim), length - 1, j).value;
    if (!(p[j] <= maximum)) maximum = p[j];
  }
  for (int64_t d = 0; d < dim; ++d) o[d] = 0;
  if (maximum == -std::numeric_limits<T>::infinity()) return;
  for (int64_t j = first; j < length; ++j) sum += p[j] = std::exp(p[j] - maximum);
  for (int64_t j = first; j < length; ++j)
    for (int64_t d = 0; d < dim; ++d) o[d] += p[j] / sum * v[j * stride + d];
}

// The same, by vectors.
void decode(float* o, const float* q, const float* k, const float* v, int64_t stride, int64_t length, int64_t window,
            int64_t dim, const Scores<float>& score) {
  const int64_t first = window ? std::max<int64_t>(0, length - window) : 0, keys = length - first;
  auto* memory = static_cast<float*>(scratch(6, size_t(keys + 16) * sizeof(float)));
  row_kernels().attention_decode({q, k + first * stride, v + first * stride, o, keys, dim, stride, score.scale,
                                  score.softcap, score.bias ? score.bias + first - (length - 1) : nullptr, memory});
}

}  // namespace

void cpu::attention_decode(View o, View q, View k_cache, View v_cache, View lengths, View bias, AttentionShape shape) {
  dispatch(q, [&](auto zero) {
    using T = decltype(zero);
    const int64_t dim = shape.head_dim, stride = shape.kv_heads * dim, capacity = k_cache.dims[1];
    parallel_for(lengths.size() * shape.heads, [&](int64_t piece) {
      const int64_t sequence = piece / shape.heads, head = piece % shape.heads;
      const int64_t from = sequence * capacity * stride + head / (shape.heads / shape.kv_heads) * dim;
      decode(o.as<T>() + piece * dim, q.as<T>() + piece * dim, k_cache.as<T>() + from, v_cache.as<T>() + from, stride,
             lengths.as<int32_t>()[sequence], shape.window, dim, scores_of<T>(shape, bias, head));
    });
  });
}

}  // namespace lowrank
