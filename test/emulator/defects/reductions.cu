// Layer norm of rows, and the sum of a vector by blocks of which the last one to finish reports; with defects on
// demand.

#include "cuda/conformance/case.cuh"
#include "test/emulator/defects/defects.h"

namespace {

using namespace lowrank;
using conformance::DeviceArray;

constexpr int NORM_THREADS = 128, SUM_THREADS = 256;

// y = (x - mean) rstd, one row a block.
__global__ void __launch_bounds__(NORM_THREADS) norm_rows(const float* x, float* y, int columns, Defect defect) {
  SHARED(sums, Array<float2, NORM_THREADS / 32>);
  const int64_t row = int64_t(blockIdx.x) * columns;
  float2 sum = {0, 0};
  if (defect == Defect::NormReadsTooEarly) sum.x = x[row] * 0.0f;
  if (defect != Defect::NormNoKernelWait || threadIdx.x < NORM_THREADS - 32) ptx::wait_for_kernels();
  for (int i = int(threadIdx.x); i < columns; i += NORM_THREADS) {
    sum.x += x[row + i];
    sum.y += x[row + i] * x[row + i];
  }
  for (int lanes = defect == Defect::NormShortTree ? 8 : 16; lanes > 0; lanes /= 2) {
    sum.x += ptx::shuffle_xor(sum.x, lanes);
    sum.y += ptx::shuffle_xor(sum.y, lanes);
  }
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  if (defect != Defect::NormNoBarrier) __syncthreads();
  sum = {0, 0};
  for (const float2& part : sums) {
    sum.x += part.x;
    sum.y += part.y;
  }
  const float mean = sum.x / float(columns), rstd = rsqrtf(sum.y / float(columns) - mean * mean + 1e-5f);
  const int shift = defect == Defect::NormOutOfBounds ? 1 : 0;
  for (int i = int(threadIdx.x); i < columns; i += NORM_THREADS) y[row + i + shift] = (x[row + i] - mean) * rstd;
}

__global__ void __launch_bounds__(SUM_THREADS)
    sum_all(const float* x, float* total, unsigned* done, float* result, int n, Defect defect) {
  SHARED(parts, Array<float, SUM_THREADS>);
  const unsigned i = threadIdx.x;
  float sum = 0;
  for (unsigned j = blockIdx.x * SUM_THREADS + i; j < unsigned(n); j += gridDim.x * SUM_THREADS) sum += x[j];
  parts[i] = sum;
  __syncthreads();
  for (unsigned half = SUM_THREADS / 2; half > 0; half /= 2) {
    if (i < half) parts[i] += parts[i + half];
    if (defect != Defect::SumWarpSynchronous || half > 32) __syncthreads();
  }
  if (i != 0) return;
  if (defect == Defect::SumNotAtomic) *total = *total + parts[0];
  else atomicAdd(total, parts[0]);
  if (defect != Defect::SumNoFence) __threadfence();
  if (atomicAdd(done, 1u) == gridDim.x - 1) *result = atomicAdd(total, 0.0f);
}

}  // namespace

void run_norm(Defect defect) {
  constexpr int rows = 8, columns = 384;
  const auto x = conformance::values<float>(rows * columns, 3);
  const DeviceArray<float> from(x), to(rows * columns);
  cuda::launch(norm_rows, {dim3(rows), dim3(NORM_THREADS), 0, 1, true}, from.data(), to.data(), columns, defect);
  std::vector<double> expected;
  for (int row = 0; row < rows; ++row) {
    double sum = 0, squares = 0;
    for (int i = 0; i < columns; ++i) {
      const double value = double(x[size_t(row * columns + i)]);
      sum += value;
      squares += value * value;
    }
    const double mean = sum / columns, rstd = 1 / std::sqrt(squares / columns - mean * mean + 1e-5);
    for (int i = 0; i < columns; ++i) expected.push_back((double(x[size_t(row * columns + i)]) - mean) * rstd);
  }
  conformance::expect_near("norm", to.read(), expected, 1e-4);
}

void run_sum(Defect defect) {
  constexpr int n = 20000;
  std::vector<float> x(n);
  double expected = 0;
  for (int i = 0; i < n; ++i) expected += double(x[size_t(i)] = float(i % 17 + 1) / 16);
  const DeviceArray<float> from(x), total(std::vector<float>{0}), result(1);
  const DeviceArray<unsigned> done(std::vector<unsigned>{0});
  cuda::launch(sum_all, 8, SUM_THREADS, from.data(), total.data(), done.data(), result.data(), n, defect);
  conformance::expect_near("sum", result.read(), std::vector<double>{expected}, 1e-5);
}
