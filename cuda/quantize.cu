// y = codes of x f32, I8 or NF4 (core/quantized.h), bit for bit as the CPU chooses them.
//
// I8: a block a row, which it reads twice (the second time from L2). NF4 in three launches: a warp a block of 64, two
// elements a lane, writes codes and leaves the absmax in scratch; one block of threads sums their mean in the order of
// cpu/quantize.cpp; a block of threads quantises 256 of them. f32 arithmetic, the mean in f64. A weight is quantised
// once, when it is loaded, behind its upload: bound by bandwidth, with no target.

#include "cuda/quantized.cuh"
#include "cuda/reduce.cuh"

namespace lowrank {
namespace {

using namespace cuda;
constexpr int THREADS = 256;

// The first of `n` ascending values in whose upper half x does not lie: between two, the lower one wins the middle.
template <int N>
__device__ int nearest(const float (&map)[N], float x) {
  int low = 0;
  for (int step = N / 2; step > 0; step /= 2) {
    const int middle = low + step - 1;
    if (x > (map[middle] + map[middle + 1]) / 2) low += step;
  }
  return low;
}

__device__ float clamp_one(float x) { return fminf(fmaxf(x, -1.0f), 1.0f); }
__device__ float reciprocal(float absmax) { return 1.0f / fmaxf(absmax, SMALLEST_ABSMAX); }

__global__ void quantize_rows(Int8Weight w, const float* x, int64_t columns) {
  SHARED(partial, Array<float, THREADS / 32>);
  const int64_t row = blockIdx.x;
  const float* from = x + row * columns;
  float most = 0;
  for (int64_t i = threadIdx.x; i < columns; i += THREADS) most = fmaxf(most, fabsf(from[i]));
  most = reduce_block<THREADS>(most, &partial[0], Maximum());
  if (threadIdx.x == 0) w.absmax[row] = most;
  const float factor = 127.0f / fmaxf(most, SMALLEST_INT8_ABSMAX);
  for (int64_t i = threadIdx.x; i < columns; i += THREADS) w.codes[row * columns + i] = int8_t(rintf(from[i] * factor));
}

__global__ void quantize_blocks(Nf4Weight w, const float* x, int64_t n, float* absmax) {
  const int64_t block = int64_t(blockIdx.x) * (THREADS / 32) + threadIdx.x / 32;
  if (block >= w.blocks) return;
  const int64_t i = block * NF4_BLOCK + threadIdx.x % 32 * 2;
  const float a = i < n ? x[i] : 0.0f, b = i + 1 < n ? x[i + 1] : 0.0f;
  const float most = reduce_warp(fmaxf(fabsf(a), fabsf(b)), Maximum());
  const float factor = reciprocal(most);
  if (i < n)
    w.codes[i / 2] = uint8_t(nearest(NF4_MAP, clamp_one(a * factor)) << 4 | nearest(NF4_MAP, clamp_one(b * factor)));
  if (threadIdx.x % 32 == 0) absmax[block] = most;
}

__global__ void average(Nf4Weight w, const float* absmax) {
  SHARED(lanes, Array<double, THREADS>);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < w.blocks; i += THREADS) sum += absmax[i];
  lanes[threadIdx.x] = sum;
  __syncthreads();
  for (int half = THREADS / 2; half > 0; half /= 2) {
    if (threadIdx.x < unsigned(half)) lanes[threadIdx.x] += lanes[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) *w.offset = w.blocks ? float(lanes[0] / double(w.blocks)) : 0.0f;
}

__global__ void quantize_scales(Nf4Weight w, const float* absmax) {
  SHARED(partial, Array<float, THREADS / 32>);
  const int64_t block = int64_t(blockIdx.x) * THREADS + threadIdx.x;
  const float centred = block < w.blocks ? absmax[block] - *w.offset : 0.0f;
  const float most = reduce_block<THREADS>(fabsf(centred), &partial[0], Maximum());
  if (threadIdx.x == 0) w.nested[blockIdx.x] = most;
  if (block < w.blocks) w.scales[block] = uint8_t(nearest(DYNAMIC_MAP, clamp_one(centred * reciprocal(most))));
}

}  // namespace

void cuda::quantize(View y, View x) {
  static_assert(THREADS == NF4_NESTED);
  if (y.dtype == DType::I8) return launch(quantize_rows, x.rows(), THREADS, Int8Weight(y), x.as<float>(), x.cols());
  const Nf4Weight w(y);
  Scratch blocks(Owner::Absmax);
  auto* absmax = blocks.take<float>(w.blocks + 16);
  launch(quantize_blocks, ceil_div(w.blocks, THREADS / 32), THREADS, w, x.as<float>(), x.size(), absmax);
  launch(average, 1, THREADS, w, absmax);
  launch(quantize_scales, w.nested_blocks(), THREADS, w, absmax);
}

}  // namespace lowrank
