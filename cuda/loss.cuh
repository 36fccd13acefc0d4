#pragma once
// The sum of a loss: each block leaves a partial sum in f64, and one block adds them up in order. How they are cut
// depends on sizes alone.

#include "cuda/parameter.cuh"
#include "cuda/reduce.cuh"

namespace lowrank::cuda {

constexpr int LOSS_THREADS = 256;

// loss = scale * sum of partial[count]; 0 for none. One block.
static __global__ void __launch_bounds__(LOSS_THREADS)
    sum_losses(Scalar loss, const double* partial, int64_t count, double scale) {
  SHARED(sums, Array<double, LOSS_THREADS / 32>);
  double total = 0;
  for (int64_t i = int(threadIdx.x); i < count; i += LOSS_THREADS) total += partial[i];
  total = reduce_block<LOSS_THREADS>(total, sums, Sum{});
  if (threadIdx.x == 0) loss.set(scale * total);
}

// Elementwise losses: blocks for n elements in packs of N, at most 1024, each every so many-th stretch.
constexpr int64_t MOST_LOSS_BLOCKS = 1024;
inline int64_t loss_blocks(int64_t n, int pack) {
  return std::min(MOST_LOSS_BLOCKS, ceil_div(n, int64_t(LOSS_THREADS) * pack * 4));
}

// partial[block] = sum over this block's packs of N elements of value(first element); N divides n.
template <int N, typename F>
__device__ void sum_elements(double* partial, int64_t n, F&& value) {
  SHARED(sums, Array<double, LOSS_THREADS / 32>);
  double total = 0;
  for (int64_t i = (int64_t(blockIdx.x) * LOSS_THREADS + threadIdx.x) * N; i < n;
       i += int64_t(gridDim.x) * LOSS_THREADS * N)
    total += double(value(i));
  total = reduce_block<LOSS_THREADS>(total, sums, Sum{});
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

}  // namespace lowrank::cuda
