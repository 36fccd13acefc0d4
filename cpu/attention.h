#pragma once
#include <cmath>

#include "core/kernels.h"

namespace lowrank::cpu {

// What all sequences and heads of a call share; backward alone has dy and the gradients.
struct AttentionCall {
  View q, k, v, cu_seqlens, key_seqlens, bias;
  AttentionShape shape;
  Dropout dropout;
  View o, lse;
  View dy, dq, dk, dv, dbias;
};

// f32, in blocks: no score matrix beyond one block per thread.
void attention_tiled(const AttentionCall& call);
void attention_backward_tiled(const AttentionCall& call);
void attention_bias_backward_tiled(const AttentionCall& call);

// The scores of one head.
template <typename T>
struct Scores {
  struct Score {
    T value, slope;  // slope: by the product q k
  };
  Score operator()(T product, int64_t query, int64_t key) const {
    Score s{scale * product, scale};
    if (softcap > 0) {
      const T bend = std::tanh(s.value / softcap);
      s = {softcap * bend, scale * (1 - bend * bend)};
    }
    if (bias) s.value += bias[key - query];
    return s;
  }

  T scale, softcap;
  const T* bias;  // of distance 0, or null
};

template <typename T>
Scores<T> scores_of(const AttentionShape& shape, const View& bias, int64_t head) {
  const T* row = bias ? bias.as<T>() + head * bias.cols() + bias.cols() / 2 : nullptr;
  return {T(shape.scale), T(shape.softcap), row};
}

template <typename T>
T dot(const T* a, const T* b, int64_t count) {
  T sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace lowrank::cpu
