#pragma once
// y = bias + residual + sum over pieces of K, in their order: the end of a product whose tiles are too few to occupy
// the device otherwise. Four columns a thread, where rows of the partial sums allow 16-byte loads, else one; one pass
// over the partial sums, which L2 mostly still has.

#include "cuda/gemm/bend.cuh"
#include "cuda/parameter.cuh"

namespace lowrank::cuda::gemm {

struct Pieces {
  const float* partial;  // [count, m, pitch]
  int count;
  int64_t m, n, pitch;  // pitch: n or more
  View bias, residual, y;
  Curve curve{};
};

constexpr int PIECES_THREADS = 256;

// N divides the pitch.
template <typename T, int N>
__global__ void add_pieces(Pieces s) {
  const int64_t at = (int64_t(blockIdx.x) * PIECES_THREADS + threadIdx.x) * N;
  if (at >= s.m * s.pitch) return;
  const int64_t row = at / s.pitch, column = at % s.pitch;
  Pack<float, N> sum = load<N>(s.partial + at);
  for (int piece = 1; piece < s.count; ++piece) {
    const Pack<float, N> more = load<N>(s.partial + piece * s.m * s.pitch + at);
    for (int i = 0; i < N; ++i) sum.lane[i] += more.lane[i];
  }
  for (int i = 0; i < N && column + i < s.n; ++i) {
    const int64_t to = row * s.n + column + i;
    float value = sum.lane[i];
    value += element_of<float>(s.bias, column + i) + element_of<float>(s.residual, to);
    if (s.y.dtype == DType::F32) static_cast<float*>(s.y.data)[to] = value;
    else static_cast<T*>(s.y.data)[to] = T(value);
    if constexpr (sizeof(T) == 2) {
      if (s.curve.to) bend_written<false, T, 1>(s.curve, static_cast<T*>(s.y.data), to);
      if (s.curve.at) bend_written<true, T, 1>(s.curve, static_cast<T*>(s.y.data), to);
    }
  }
}

// T: what y has where it is not f32.
template <typename T>
void launch_pieces(const Pieces& s) {
  const auto go = [&](auto kernel, int n) {
    launch(kernel, ceil_div(s.m * s.pitch / n, PIECES_THREADS), PIECES_THREADS, s);
  };
  if (s.pitch % 4 == 0) go(add_pieces<T, 4>, 4);
  else go(add_pieces<T, 1>, 1);
}

}  // namespace lowrank::cuda::gemm
