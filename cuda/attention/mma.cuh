#pragma once
// Tiles of bf16 or f16 in shared memory, and products of them by mma.sync, for the portable kernels of attention. A
// tile has rows of D elements, D a power of two from 32; its 16-byte chunks are swapped about by row, so that neither
// copies nor ldmatrix meet a bank twice. In fragments, g = lane / 4 and t = lane % 4, as in ptx.cuh.

#include "cuda/attention/problem.cuh"
#include "cuda/pair.cuh"

namespace lowrank::cuda::tensor_core {

constexpr int WARPS = 4, THREADS = 32 * WARPS;

template <int D>
__device__ int swap_of(int row) {
  return D >= 64 ? row % 8 : row / 2 % 4;
}

template <typename T, int D>
constexpr uint32_t tile_bytes(int rows) {
  return uint32_t(rows) * D * sizeof(T);
}

// Where a lane's rows of ldmatrix are: few registers serve all chunks, the rest of an address is constant.
template <int D>
struct Cursor {
  // Of 16 rows from `row`, a multiple of 8: the lane gives row `lane_row`, chunks `side` (0, 1) beside the even ones.
  __device__ Cursor(uint32_t tile, int row, int lane_row, int side)
      : base(tile + uint32_t(row + lane_row) * (2 * D)), swapped(side ^ swap_of<D>(lane_row)) {}
  // The even chunk `chunk` of the row `row` rows on, a multiple of 8.
  __device__ uint32_t operator()(int row, int chunk) const {
    constexpr int PERIOD = D >= 64 ? 8 : 4;
    return base + uint32_t(row * 2 * D + chunk / PERIOD * PERIOD * 16) + uint32_t((chunk % PERIOD ^ swapped) * 16);
  }
  uint32_t base;
  int swapped;
};

// tile[r][c] = from[r * stride + c], zeros from row `valid` and column `dim` on; by cp.async, to be committed.
template <int D, int Rows, typename T>
__device__ void fetch(uint32_t tile, const T* from, int64_t stride, int valid, int dim) {
  constexpr int STEP = THREADS / (D / 8);  // rows at a time
  const int first = int(threadIdx.x) / (D / 8), chunk = int(threadIdx.x) % (D / 8);
  const bool inside = chunk * 8 < dim;
  const T* at = from + first * stride + chunk * 8;
  uint32_t to = tile + uint32_t(first * 2 * D);
  for (int row = first; row < Rows; row += STEP, at += STEP * stride, to += STEP * 2 * D) {
    const bool copied = inside && row < valid;
    ptx::cp_async<16>(to + uint32_t((chunk ^ swap_of<D>(row)) * 16), copied ? at : from, copied ? 16 : 0);
  }
}

// s[m] = rows a_row + 16 m of tile a times rows b_row to b_row + 8 N of tile b, transposed.
template <typename T, int D, int M, int N>
__device__ void multiply(float (&s)[M][N][4], uint32_t a, int a_row, uint32_t b, int b_row) {
  const int lane = int(threadIdx.x % 32);
  const Cursor<D> left(a, a_row, lane % 16, lane / 16), right(b, b_row, lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
  for (int i = 0; i < M * N * 4; ++i) s[i / 4 / N][i / 4 % N][i % 4] = 0;
#pragma unroll
  for (int k = 0; k < D / 16; ++k) {
    uint32_t rows[M][4];
#pragma unroll
    for (int m = 0; m < M; ++m) ptx::ldmatrix(rows[m], left(16 * m, 2 * k));
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      uint32_t columns[4];
      ptx::ldmatrix(columns, right(8 * n, 2 * k));
      const uint32_t first[2] = {columns[0], columns[1]}, second[2] = {columns[2], columns[3]};
#pragma unroll
      for (int m = 0; m < M; ++m) {
        ptx::mma<T>(s[m][n], rows[m], first);
        ptx::mma<T>(s[m][n + 1], rows[m], second);
      }
    }
  }
}

// sum[m] += p[m] times rows `row` to row + 16 K of the tile.
template <typename T, int D, int M, int K>
__device__ void add_products(float (&sum)[M][D / 8][4], const uint32_t (&p)[M][K][4], uint32_t tile, int row) {
  const int lane = int(threadIdx.x % 32);
  const Cursor<D> cursor(tile, row, lane % 16, lane / 16);
#pragma unroll
  for (int k = 0; k < K; ++k)
#pragma unroll
    for (int n = 0; n < D / 8; n += 2) {
      uint32_t columns[4];
      ptx::ldmatrix<true>(columns, cursor(16 * k, n));
      const uint32_t first[2] = {columns[0], columns[1]}, second[2] = {columns[2], columns[3]};
#pragma unroll
      for (int m = 0; m < M; ++m) {
        ptx::mma<T>(sum[m][n], p[m][k], first);
        ptx::mma<T>(sum[m][n + 1], p[m][k], second);
      }
    }
}

// Sums as the left operand of the next product, rounded to T.
template <typename T, int M, int N>
__device__ void to_operand(uint32_t (&p)[M][N / 2][4], const float (&s)[M][N][4]) {
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int i = 0; i < N * 2; ++i)
      p[m][i / 4][i % 4] = pack_pair<T>(s[m][i / 2][i % 2 * 2], s[m][i / 2][i % 2 * 2 + 1]);
}

// Rows first_row + 16 m + g and + 8, below `valid`, of a matrix in global memory.
template <typename T, int D, int M>
__device__ void store_rows(T* to, int64_t stride, const float (&sum)[M][D / 8][4], const float (&factor)[M][2],
                           int first_row, int valid, int dim) {
  const int g = int(threadIdx.x % 32) / 4, t = int(threadIdx.x % 4);
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + 16 * m + 8 * half + g;
      if (row >= valid) continue;
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        if (n * 8 >= dim) continue;
        const float low = sum[m][n][2 * half] * factor[m][half], high = sum[m][n][2 * half + 1] * factor[m][half];
        *reinterpret_cast<uint32_t*>(to + row * stride + n * 8 + 2 * t) = pack_pair<T>(low, high);
      }
    }
}

// Which of 16 keys from `key` on, a multiple of 16, a thread with columns 2t, 2t + 1, 2t + 8, 2t + 9 keeps.
struct KeptColumns {
  __device__ bool operator()(int n, int e, int keep) const { return int(word >> (n * 16 + e * 8) & 0xff) < keep; }
  uint32_t word;
};
__device__ inline KeptColumns kept_columns(const MaskBytes& bytes, int key) {
  const int i = key % 64 / 16;
  return {i < 2 ? (i == 0 ? bytes.words[0] : bytes.words[1]) : (i == 2 ? bytes.words[2] : bytes.words[3])};
}

}  // namespace lowrank::cuda::tensor_core
