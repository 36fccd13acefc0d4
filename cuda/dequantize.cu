// y = w, of I8, NF4 (core/quantized.h) or blocks (core/blocks.h), as f32, f64, bf16 or f16.
//
// One pass: a thread makes one 16-byte pack of y at a time, so that both the loads and the stores of a warp are
// contiguous, and PACKS of them. NF4 runs over the flattened weight: the 16 values lie in shared memory, in 16 banks,
// where no pattern of codes conflicts; a block's absmax is read from L1 by the 8 threads that share it. I8 runs over
// stretches of rows, in packs where their length allows. Of blocks a thread makes one pack, whose elements share a
// scale; their bytes are read one by one, from L1 after the first. f32 arithmetic, rounded once: the bits are the
// CPU's. Bound by bandwidth: the target is (bytes of w + bytes of y) / peak. What fits stays in L2 for the product.

#include "core/blocks.h"
#include "cuda/quantized.cuh"

namespace lowrank {
namespace {

using namespace cuda;
constexpr int THREADS = 256;
constexpr int PACKS = 4;

template <typename T, int N>
__global__ void dequantize_nf4(T* y, Nf4Weight w, int64_t n) {
  SHARED(values, Array<float, 16>);
  if (threadIdx.x < 16) values[threadIdx.x] = NF4_MAP[threadIdx.x];
  __syncthreads();
  const int64_t first = (int64_t(blockIdx.x) * PACKS * THREADS + threadIdx.x) * N;
  for (int pack = 0; pack < PACKS; ++pack) {
    const int64_t i = first + int64_t(pack) * THREADS * N;
    if (i >= n) return;
    const float absmax = absmax_of(w, i / NF4_BLOCK);
    if (N > 1 && i + N <= n) {
      const auto codes = load<(N + 1) / 2>(w.codes + i / 2);
      Pack<T, N> out;
      for (int k = 0; k < N; ++k) out.lane[k] = T(values[codes.lane[k / 2] >> (k % 2 ? 0 : 4) & 15] * absmax);
      store(y + i, out);
    } else {
      for (int64_t j = i; j < n && j < i + N; ++j) y[j] = T(values[w.codes[j / 2] >> (j % 2 ? 0 : 4) & 15] * absmax);
    }
  }
}

// Left to itself, nvcc stores the lanes one by one.
template <typename T, int N>
__device__ void store_whole(T* to, const Pack<T, N>& pack) {
  if constexpr (sizeof(pack) == 16) __stwb(reinterpret_cast<uint4*>(to), *reinterpret_cast<const uint4*>(&pack));
  else store(to, pack);
}

// A block takes PACKS rows of one stretch of columns. N divides the number of columns.
template <typename T, int N>
__global__ void dequantize_int8(T* y, Int8Weight w, int64_t rows, int64_t columns, int stretches) {
  const int64_t column = (int64_t(blockIdx.x % stretches) * THREADS + threadIdx.x) * N;
  const int64_t first = int64_t(blockIdx.x / stretches) * PACKS;
  if (column >= columns) return;
  for (int64_t row = first; row < first + PACKS && row < rows; ++row) {
    const float absmax = w.absmax[row];
    const auto codes = load<N>(w.codes + row * columns + column);
    Pack<T, N> out;
    for (int k = 0; k < N; ++k) out.lane[k] = T(float(codes.lane[k]) * absmax * INT8_STEP);
    store_whole(y + row * columns + column, out);
  }
}

// N divides 16, so that a pack lies in one run of elements with one scale.
template <DType Format, typename T, int N>
__global__ void dequantize_blocks(T* y, const uint8_t* w, int64_t n) {
  constexpr BlockFormat FORMAT = block_format(Format);
  const int64_t i = (int64_t(blockIdx.x) * THREADS + threadIdx.x) * N;
  if (i >= n) return;
  const int run_index = int(i % FORMAT.elements / BLOCK_RUN), first = int(i % BLOCK_RUN);
  const BlockRun run = block_run<Format>(w + i / FORMAT.elements * FORMAT.bytes, run_index);
  Pack<T, N> out;
  for (int k = 0; k < N; ++k) out.lane[k] = T(run[first + k]);
  store(y + i, out);
}

void dequantize_blocks(const View& y, const View& w) {
  const int64_t n = y.size();
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    with_pack<T>(
        [&](auto pack) {
          constexpr int N = decltype(pack)::value;
          with_blocks(w.dtype, [&](auto format) {
            constexpr DType FORMAT = decltype(format)::value;
            launch(dequantize_blocks<FORMAT, T, N>, ceil_div(n, THREADS * N), THREADS, y.as<T>(), w.as<uint8_t>(), n);
          });
        },
        y);
  });
}

}  // namespace

void cuda::dequantize(View y, View w) {
  if (is_blocks(w.dtype)) return dequantize_blocks(y, w);
  const int64_t n = y.size(), rows = w.dims[0], columns = w.dims[1];
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    with_pack<T>(
        [&](auto pack) {
          constexpr int N = decltype(pack)::value;
          if (w.dtype == DType::NF4)
            return launch(dequantize_nf4<T, N>, ceil_div(n, THREADS * N * PACKS), THREADS, y.as<T>(), Nf4Weight(w), n);
          const auto by_rows = [&](auto kernel, int width) {
            const int64_t stretches = ceil_div(columns, THREADS * width);
            launch(kernel, stretches * ceil_div(rows, PACKS), THREADS, y.as<T>(), Int8Weight(w), rows, columns,
                   int(stretches));
          };
          if (columns % N == 0) by_rows(dequantize_int8<T, N>, N);
          else by_rows(dequantize_int8<T, 1>, 1);
        },
        y, w);
  });
}

}  // namespace lowrank
