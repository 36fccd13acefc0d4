// c[M, N] = a[M, K] b[N, K]^T by cp.async in three stages, ldmatrix and mma.sync, with defects on demand.

#include "cuda/conformance/case.cuh"
#include "test/emulator/defects/defects.h"

namespace {

using namespace lowrank;
using conformance::DeviceArray;
using Bf16 = __nv_bfloat16;

constexpr int TILE = 64, DEPTH = 32, STAGES = 3, THREADS = 128;
constexpr uint32_t TILE_BYTES = TILE * DEPTH * 2;

// Byte of a 16-byte chunk of a [64, 32] tile: two rows a 128-byte line, chunks turned by the line.
__device__ uint32_t place(int row, int chunk) { return uint32_t(row * 4 + (chunk ^ (row / 2 % 4))) * 16; }

struct Tile {
  __device__ void load(uint32_t to, const Bf16* from, int k) const {
    for (int i = int(threadIdx.x); i < TILE * 4; i += THREADS)
      ptx::cp_async<16>(to + place(i / 4, i % 4), from + int64_t(first + i / 4) * depth + k + i % 4 * 8);
  }
  int first, depth;
};

__device__ uint32_t read_place(Defect defect, int row, int chunk) {
  return defect == Defect::MmaSwizzleOffByOne ? place(row, chunk ^ ((row / 2 + 1) % 4) ^ (row / 2 % 4))
                                              : place(row, chunk);
}

// One stage's products of a warp's 32x32 corner.
__device__ void multiply(Defect defect, uint32_t a, uint32_t b, int row0, int column0, float (&sums)[2][4][4]) {
  const int lane = int(threadIdx.x) % 32;
  for (int k = 0; k < DEPTH / 8; k += 2) {
    uint32_t left[2][4], right[4][2];
    for (int i = 0; i < 2; ++i)
      ptx::ldmatrix(left[i], a + read_place(defect, row0 + i * 16 + lane % 16, k + lane / 16));
    for (int j = 0; j < 4; j += 2) {
      uint32_t r[4];
      ptx::ldmatrix(r, b + place(column0 + j * 8 + lane % 8 + lane / 16 * 8, k + lane / 8 % 2));
      const bool wrong = defect == Defect::MmaFragments;
      right[j][0] = r[0];
      right[j][1] = wrong ? r[2] : r[1];
      right[j + 1][0] = wrong ? r[1] : r[2];
      right[j + 1][1] = r[3];
    }
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 4; ++j) ptx::mma<Bf16>(sums[i][j], left[i], right[j]);
  }
}

__global__ void __launch_bounds__(THREADS)
    product_mma(const Bf16* a, const Bf16* b, float* c, int n, int depth, Defect defect) {
  SHARED_DYNAMIC(bytes);
  const uint32_t base = ptx::shared_address(bytes);
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  const Tile rows{int(blockIdx.y) * TILE, depth}, columns{int(blockIdx.x) * TILE, depth};
  const int steps = depth / DEPTH;
  const auto stage = [&](int step) { return base + uint32_t(step % STAGES) * 2 * TILE_BYTES; };
  const auto fetch = [&](int step, uint32_t to) {
    if (step < steps) {
      rows.load(to, a, step * DEPTH);
      columns.load(to + TILE_BYTES, b, step * DEPTH);
    }
    ptx::cp_async_commit();
  };
  for (int step = 0; step < STAGES - 1; ++step) fetch(step, stage(step));
  float sums[2][4][4] = {};
  for (int step = 0; step < steps; ++step) {
    if (defect == Defect::MmaWaitTooLax) ptx::cp_async_wait<STAGES - 1>();
    else ptx::cp_async_wait<STAGES - 2>();
    if (defect != Defect::MmaNoBarrier) __syncthreads();
    fetch(step + STAGES - 1, stage(defect == Defect::MmaRefillsLiveStage ? step : step + STAGES - 1));
    multiply(defect, stage(step), stage(step) + TILE_BYTES, warp / 2 * 32, warp % 2 * 32, sums);
    if (defect == Defect::MmaDivergentBarrier && warp == 0) __syncthreads();
  }
  ptx::cp_async_wait<0>();
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 4; ++j)
      for (int e = 0; e < 4; ++e) {
        int row = rows.first + warp / 2 * 32 + i * 16 + lane / 4 + e / 2 * 8;
        if (defect == Defect::MmaOutOfBounds && i == 1) row += 1;
        c[int64_t(row) * n + columns.first + warp % 2 * 32 + j * 8 + lane % 4 * 2 + e % 2] = sums[i][j][e];
      }
}

}  // namespace

void run_mma(Defect defect) {
  constexpr int m = 128, n = 64, depth = 256;
  const auto a = conformance::values<Bf16>(m * depth, 1), b = conformance::values<Bf16>(n * depth, 2);
  const DeviceArray<Bf16> left(a), right(b);
  const DeviceArray<float> c(m * n);
  cuda::launch(product_mma, {dim3(n / TILE, m / TILE), dim3(THREADS), STAGES * 2 * TILE_BYTES}, left.data(),
               right.data(), c.data(), n, depth, defect);
  conformance::expect_near("product", c.read(), conformance::product(a, b, m, n, depth), 1e-5);
}
