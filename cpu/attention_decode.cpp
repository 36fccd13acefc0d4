// Attention of single queries to the keys and values in pages of a cache.
#include <algorithm>
#include <limits>

#include "cpu/attention.h"
#include "cpu/convert.h"
#include "cpu/dispatch.h"
#include "cpu/half.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank {
namespace {

using namespace cpu;

// The keys and values of one head of keys under one query, the last of `length`.
struct Keys {
  const char *k, *v;  // of the first page
  bool bf16;
  const int32_t* pages;
  int64_t page, stride, length, first;  // stride: elements between keys; first: the first one that is seen
  int64_t at(int64_t j) const { return (pages[j / page] * page + j % page) * stride; }
};

template <typename T>
void decode(T* o, const T* q, const Keys& keys, int64_t dim, const Scores<T>& score) {
  T* p = static_cast<T*>(scratch(6, size_t(keys.length) * sizeof(T)));
  const auto element = [&](const char* base, int64_t at) { return reinterpret_cast<const T*>(base)[at]; };
  T maximum = -std::numeric_limits<T>::infinity(), sum = 0;
  for (int64_t j = keys.first; j < keys.length; ++j) {
    T product = 0;
    for (int64_t d = 0; d < dim; ++d) product += q[d] * element(keys.k, keys.at(j) + d);
    p[j] = score(product, keys.length - 1, j).value;
    if (!(p[j] <= maximum)) maximum = p[j];
  }
  for (int64_t d = 0; d < dim; ++d) o[d] = 0;
  if (maximum == -std::numeric_limits<T>::infinity()) return;
  for (int64_t j = keys.first; j < keys.length; ++j) sum += p[j] = std::exp(p[j] - maximum);
  for (int64_t j = keys.first; j < keys.length; ++j)
    for (int64_t d = 0; d < dim; ++d) o[d] += p[j] / sum * element(keys.v, keys.at(j) + d);
}

// The same, by vectors.
void decode(float* o, const float* q, const Keys& keys, int64_t dim, const Scores<float>& score) {
  auto* memory = static_cast<float*>(scratch(6, size_t(keys.length - keys.first + 16) * sizeof(float)));
  const float* bias = score.bias ? score.bias + keys.first - (keys.length - 1) : nullptr;
  row_kernels().attention_decode({q, keys.k, keys.v, keys.bf16, keys.pages, keys.page, o, keys.first, keys.length, dim,
                                  keys.stride, score.scale, score.softcap, bias, memory});
}

}  // namespace

void cpu::attention_decode(View o, View q, View k_cache, View v_cache, View lengths, View pages, View bias,
                           AttentionShape shape) {
  if (is_bf16(q)) {
    const Wide queries(q), out(o, false);
    attention_decode(out.view, queries.view, k_cache, v_cache, lengths, pages, bias, shape);
    return out.round();
  }
  dispatch(q, [&](auto zero) {
    using T = decltype(zero);
    const int64_t dim = shape.head_dim, stride = shape.kv_heads * dim, page = k_cache.dims[1];
    const int64_t element = int64_t(bytes_of(k_cache.dtype));
    parallel_for(lengths.size() * shape.heads, [&](int64_t piece) {
      const int64_t row = piece / shape.heads, head = piece % shape.heads;
      const int64_t from = head / (shape.heads / shape.kv_heads) * dim * element;
      const int64_t length = lengths.as<int32_t>()[row];
      const Keys keys = {k_cache.as<char>() + from,
                         v_cache.as<char>() + from,
                         k_cache.dtype == DType::BF16,
                         pages.as<int32_t>() + row * pages.cols(),
                         page,
                         stride,
                         length,
                         shape.window ? std::max<int64_t>(0, length - shape.window) : 0};
      decode(o.as<T>() + piece * dim, q.as<T>() + piece * dim, keys, dim, scores_of<T>(shape, bias, head));
    });
  });
}

}  // namespace lowrank
