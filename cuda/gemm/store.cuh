#pragma once
// The end of a product on tensor cores: accumulators + bias + residual, rounded once, to y.
//
// Each warp stages 16 rows of its part as f32 in shared memory of its own and reads them back along rows, so that y is
// written, and the residual read, in 16-byte pieces of whole lines. Rows of WN + 8 floats: no bank conflicts going in.
//
// Where y is turned, the warps stage together, and turn what lies there, bias and all, in place: pairs of columns may
// be a tile apart. A thread has one pair of every few rows, whose angles it loads several at a time. For 128 x 128 of y
// that is 64 KB of the table from L2, beside 2 MB of operands at K 4096, and 16 k floats in shared memory, read and
// written.

#include "cuda/gemm/tile.cuh"
#include "cuda/gemm/turn.cuh"

namespace lowrank::cuda::gemm {

// Where the result goes.
struct Target {
  int64_t m, n;
  View bias, residual, y;
  bool wide;  // rows of y and residual begin at multiples of 16 bytes
  Rope rope;
};

template <int N>
__device__ void add_bias(float (&sum)[N], const View& bias, int64_t column, int count) {
#pragma unroll
  for (int i = 0; i < N; ++i)
    if (i < count) {
      const int64_t at = column + i;
      if (bias.dtype == DType::F32) sum[i] += static_cast<const float*>(bias.data)[at];
      else if (bias.dtype == DType::F16) sum[i] += float(static_cast<const __half*>(bias.data)[at]);
      else sum[i] += float(static_cast<const __nv_bfloat16*>(bias.data)[at]);
    }
}

// 16 rows of y from `row`, WN columns from `column`, staged by this warp.
template <typename Y, int WN>
__device__ void store_rows(const Target& target, const float* staged, int64_t row, int64_t column) {
  constexpr int N = PACK<Y>, LANES = WN / N;
  const int lane = int(threadIdx.x) % 32, at = lane % LANES * N;
  column += at;
  const int count = int(target.n - column < N ? target.n - column : N);
  if (count <= 0) return;
  float bias[N] = {};
  if (target.bias.data && !target.rope.table.data) add_bias(bias, target.bias, column, count);
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

// 16 rows of each warp, staged by all of the block, from `row` and `column` of y on.
template <typename S>
__device__ void turn_staged(const Target& target, float* shared, int64_t row, int64_t column) {
  constexpr int UNITS = S::BN / 2, STEP = S::THREADS / UNITS, LINES = S::BM / S::WM * 16, BATCH = 8;
  static_assert(LINES % (STEP * BATCH) == 0);
  const Pair pair = pair_of(target.rope, column / 2 + int(threadIdx.x) % UNITS);
  if (pair.first >= target.n) return;
  const float bias_a = element_of<float>(target.bias, pair.first), bias_b = element_of<float>(target.bias, pair.second);
  const auto place = [&](int line, int64_t of) {
    const int at = int(of - column), warp = line / 16 * (S::BN / S::WN) + at / S::WN;
    return shared + (warp * 16 + line % 16) * (S::WN + 8) + at % S::WN;
  };
  for (int first = int(threadIdx.x) / UNITS; first < LINES; first += STEP * BATCH) {
    Turn<float> turn[BATCH];
#pragma unroll
    for (int i = 0; i < BATCH; ++i) {
      const int line = first + i * STEP;
      const int64_t at = row + line / 16 * S::WM + line % 16;
      if (at < target.m && pair.angle >= 0) turn[i].load(target.rope, at, pair.angle);
    }
#pragma unroll
    for (int i = 0; i < BATCH; ++i) {
      float* a = place(first + i * STEP, pair.first);
      float* b = place(first + i * STEP, pair.second);
      float x = *a + bias_a, y = *b + bias_b;
      turn[i].apply(x, y);
      *a = x, *b = y;
    }
  }
}

// The warp's accumulators, from `row` and `column` of y on. `shared`: 16 (WN + 8) floats of each warp.
template <typename T, typename S, bool Turns, int MT, int NT>
__device__ void store_tile(const Target& target, const float (&sum)[MT][NT][4], float* shared, int64_t row,
                           int64_t column) {
  constexpr int WN = S::WN, WARPS_N = S::BN / WN;
  const int g = int(threadIdx.x) % 32 / 4, t = int(threadIdx.x) % 4, warp = int(threadIdx.x) / 32;
  const bool turns = Turns && target.rope.table.data;
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
    if (turns) {
      __syncthreads();
      turn_staged<S>(target, shared, row - warp / WARPS_N * S::WM + 16 * i, column - warp % WARPS_N * WN);
      __syncthreads();
    } else {
      __syncwarp();
    }
    if (target.y.dtype == DType::F32) store_rows<float, WN>(target, staged, row + 16 * i, column);
    else store_rows<T, WN>(target, staged, row + 16 * i, column);
    if (turns) __syncthreads();
    else __syncwarp();
  }
}

}  // namespace lowrank::cuda::gemm
