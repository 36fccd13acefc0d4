#pragma once
// y = bias + residual + sum over splits of K, in their order: the end of a product whose tiles are too few to occupy
// the device otherwise. Four columns a thread; one pass over the partial sums, which L2 mostly still has.

#include "cuda/gemm/product.h"
#include "cuda/launch.cuh"

namespace lowrank::cuda::gemm::sm90 {

struct Splits {
  const float* partial;  // [count, m, pitch]
  int count;
  int64_t m, n, pitch;  // pitch: n, rounded up to a multiple of 4
  View bias, residual, y;
};

constexpr int SPLIT_THREADS = 256;

template <typename T>
__device__ float element(const View& x, int64_t i) {
  return x.dtype == DType::F32 ? static_cast<const float*>(x.data)[i] : float(static_cast<const T*>(x.data)[i]);
}

template <typename T>
__global__ void add_splits(Splits s) {
  const int64_t at = (int64_t(blockIdx.x) * SPLIT_THREADS + threadIdx.x) * 4;
  if (at >= s.m * s.pitch) return;
  const int64_t row = at / s.pitch, column = at % s.pitch;
  Pack<float, 4> sum = load<4>(s.partial + at);
  for (int split = 1; split < s.count; ++split) {
    const Pack<float, 4> more = load<4>(s.partial + split * s.m * s.pitch + at);
    for (int i = 0; i < 4; ++i) sum.lane[i] += more.lane[i];
  }
  for (int i = 0; i < 4 && column + i < s.n; ++i) {
    const int64_t to = row * s.n + column + i;
    float value = sum.lane[i];
    if (s.bias.data) value += element<T>(s.bias, column + i);
    if (s.residual.data) value += element<T>(s.residual, to);
    if (s.y.dtype == DType::F32) static_cast<float*>(s.y.data)[to] = value;
    else static_cast<T*>(s.y.data)[to] = T(value);
  }
}

template <typename T>
void launch_splits(const Splits& s) {
  launch(add_splits<T>, ceil_div(s.m * s.pitch / 4, SPLIT_THREADS), SPLIT_THREADS, s);
}

}  // namespace lowrank::cuda::gemm::sm90
