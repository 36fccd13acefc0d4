#pragma once
// The end of a product on tensor cores: accumulators + bias + residual, rounded once, to y.
//
// Each warp stages 16 rows of its part as f32 in shared memory of its own and reads them back along rows, so that y is
// written, and the residual read, in 16-byte pieces of whole lines. Rows of WN + 8 floats: no bank conflicts going in.

#include "cuda/gemm/bend.cuh"
#include "cuda/gemm/tile.cuh"
#include "cuda/parameter.cuh"

namespace lowrank::cuda::gemm {

// Where the result goes.
struct Target {
  int64_t m, n;
  View bias, residual, y;
  bool wide;  // rows of y and residual begin at multiples of 16 bytes
  Curve curve{};
};

// 16 rows of y from `row`, WN columns from `column`, staged by this warp.
template <typename Y, int WN>
__device__ void store_rows(const Target& target, const float* staged, int64_t row, int64_t column) {
  constexpr int N = PACK<Y>, LANES = WN / N;
  const int lane = int(threadIdx.x) % 32, at = lane % LANES * N;
  column += at;
  const int count = int(target.n - column < N ? target.n - column : N);
  if (count <= 0) return;
  float bias[N] = {};
#pragma unroll
  for (int i = 0; i < N; ++i)
    if (i < count) bias[i] = element_of<float>(target.bias, column + i);
  const int64_t first = int64_t(blockIdx.y) * target.m + row;  // y: of pieces of K, if any
  const int rows = int(target.m - row < 16 ? target.m - row : 16);
  for (int r = lane / LANES; r < rows; r += 32 / LANES) {
    const Y* residual = static_cast<const Y*>(target.residual.data) + (first + r) * target.n + column;
    Y* y = static_cast<Y*>(target.y.data) + (first + r) * target.n + column;
    Pack<float, N> sum = load<N>(staged + r * (WN + 8) + at);
    Pack<Y, N> other = {};
    if (target.residual.data && target.wide) other = load<N>(residual);
    else if (target.residual.data) {
#pragma unroll
      for (int i = 0; i < N; ++i)
        if (i < count) other.lane[i] = residual[i];
    }
#pragma unroll
    for (int i = 0; i < N; ++i) other.lane[i] = Y(sum.lane[i] + bias[i] + float(other.lane[i]));
    // As one instruction: in these kernels nvcc takes a plain store of a pack apart.
    if (target.wide) __stwb(reinterpret_cast<uint4*>(y), *reinterpret_cast<const uint4*>(&other));
    else {
#pragma unroll
      for (int i = 0; i < N; ++i)
        if (i < count) y[i] = other.lane[i];
    }
  }
}

// The warp's accumulators, from `row` and `column` of y on. `shared`: 16 (WN + 8) floats of each warp.
template <typename T, typename S, int MT, int NT>
__device__ void store_tile(const Target& target, const float (&sum)[MT][NT][4], float* shared, int64_t row,
                           int64_t column) {
  constexpr int WN = S::WN;
  const int g = int(threadIdx.x) % 32 / 4, t = int(threadIdx.x) % 4, warp = int(threadIdx.x) / 32;
  float* staged = shared + warp * 16 * (WN + 8);
  float* upper = staged + g * (WN + 8) + 2 * t;
  float* lower = upper + 8 * (WN + 8);
#pragma unroll
  for (int i = 0; i < MT; ++i) {
#pragma unroll
    for (int j = 0; j < NT; ++j) {
      store(upper + 8 * j, Pack<float, 2>{sum[i][j][0], sum[i][j][1]});
      store(lower + 8 * j, Pack<float, 2>{sum[i][j][2], sum[i][j][3]});
    }
    __syncwarp();
    if (target.y.dtype == DType::F32) store_rows<float, WN>(target, staged, row + 16 * i, column);
    else store_rows<T, WN>(target, staged, row + 16 * i, column);
    __syncwarp();
  }
}

// What the warp has stored goes through the curve. A thread reads back what it has written itself.
template <typename T, typename S, bool Slope>
__device__ void bend_tile(const Target& target, int64_t row, int64_t column) {
  constexpr int N = PACK<T>, LANES = S::WN / N, STEP = 32 / LANES;
  static_assert(16 % STEP == 0);
  const int lane = int(threadIdx.x) % 32;
  column += lane % LANES * N;
  if (column >= target.n) return;
  const int rows = int(target.m - row < S::WM ? target.m - row : S::WM);
#pragma unroll 1
  for (int r = lane / LANES; r < rows; r += STEP)
    bend_written<Slope, T, N>(target.curve, static_cast<T*>(target.y.data), (row + r) * target.n + column);
}

}  // namespace lowrank::cuda::gemm
