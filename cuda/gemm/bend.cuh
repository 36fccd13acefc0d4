#pragma once
// Product::activated and Product::through: an activation function of y as it is rounded, or y times its slope at
// another place, with the bits that launches of their own would give (cuda/activation.cu).
//
// In the epilogue, of GELU in both forms in half precision, where lines are whole packs of 16 bytes; else by such a
// launch. Where K is cut, whoever adds up the pieces does it. About 35 instructions an element for a value, 50 for a
// slope, in code that no accumulator's loop holds: packs are read back from where they were rounded to.

#include "cuda/activation.cuh"
#include "cuda/gemm/product.h"
#include "cuda/pair.cuh"

namespace lowrank::cuda::gemm {

// What an epilogue does with y; none where there is nothing that it can do.
struct Curve {
  void* to = nullptr;        // f(y)
  const void* at = nullptr;  // y *= f'(at)
  Activation kind = Activation::Gelu;

  explicit operator bool() const { return to || at; }
};

// Of products whose orientation has the code for it: values where both operands lie along k, slopes where a does.
Curve curve_of(const Product& product);
// By a launch of its own, if there is anything to do.
void bend_rounded(const Product& product);

// y becomes f(y), or y f'(at), of each element.
template <bool Slope, typename T, int N>
__device__ __forceinline__ Pack<T, N> bent(Activation kind, Pack<T, N> y, const Pack<T, N>& at) {
  const auto all = [&](auto function) {
    using F = decltype(function);
#pragma unroll
    for (int i = 0; i < N; ++i)
      y.lane[i] = T(Slope ? float(y.lane[i]) * F::slope(float(at.lane[i])) : F::value(float(y.lane[i])));
  };
  if (kind == Activation::Gelu) all(Gelu<T>{});
  else all(GeluTanh<T>{});
  return y;
}

// Of the pack of y [m, n] that begins at element i, which this thread has written.
template <bool Slope, typename T, int N>
__device__ __forceinline__ void bend_written(const Curve& curve, T* y, int64_t i) {
  const Pack<T, N> own = load<N>(y + i);
  if constexpr (Slope) store(y + i, bent<true>(curve.kind, own, load<N>(static_cast<const T*>(curve.at) + i)));
  else store(static_cast<T*>(curve.to) + i, bent<false>(curve.kind, own, own));
}

}  // namespace lowrank::cuda::gemm
