// y[N, D] = table[ids[N]], converted to y's type. The table is of floats or of blocks (core/blocks.h).
//
// One pack of y a thread; the lanes of a warp read neighbouring packs of one row. One pass. Bound by bandwidth: the
// target is (bytes(y) + bytes of the rows read) / peak.

#include "core/blocks.h"
#include "cuda/indices.cuh"

namespace lowrank {
namespace {

using namespace cuda;
constexpr int THREADS = 256;

template <typename T, typename S, int N>
__global__ void __launch_bounds__(THREADS)
    gather(T* y, const S* table, const Indices ids, int64_t rows, int64_t cols, bool packed) {
  const int64_t i = int64_t(blockIdx.x) * THREADS + threadIdx.x, packs = ceil_div(cols, N);
  const int64_t row = divide(i, packs), first = (i - row * packs) * N;
  if (row >= rows) return;
  const S* from = table + int64_t(ids[row]) * cols + first;
  T* to = y + row * cols + first;
  if (packed) {
    const Pack<S, N> stored = load<N>(from);
    Pack<T, N> pack;
    for (int k = 0; k < N; ++k) pack.lane[k] = T(Arithmetic<S>(stored.lane[k]));
    store(to, pack);
  } else {
    for (int k = 0; k < N && first + k < cols; ++k) to[k] = T(Arithmetic<S>(from[k]));
  }
}

template <typename T, typename S>
void gather_rows(const View& y, const View& table, const View& ids) {
  constexpr int N = int(16 / (sizeof(T) > sizeof(S) ? sizeof(T) : sizeof(S)));
  const bool packed = aligned(y) && aligned(table) && y.cols() % N == 0;
  launch(gather<T, S, N>, ceil_div(ids.size() * ceil_div(y.cols(), N), THREADS), THREADS, y.as<T>(), table.as<S>(),
         Indices(ids, table.rows(), IndexKind::Embedding), ids.size(), y.cols(), packed);
}

// N divides 16: a pack lies in one run of elements with one scale.
template <DType Format, typename T, int N>
__global__ void __launch_bounds__(THREADS)
    gather_blocks(T* y, const uint8_t* table, const Indices ids, int64_t rows, int64_t cols) {
  constexpr BlockFormat FORMAT = block_format(Format);
  const int64_t i = int64_t(blockIdx.x) * THREADS + threadIdx.x, packs = cols / N;
  const int64_t row = divide(i, packs), first = (i - row * packs) * N;
  if (row >= rows) return;
  const int64_t block = (int64_t(ids[row]) * cols + first) / FORMAT.elements;
  const BlockRun run = block_run<Format>(table + block * FORMAT.bytes, int(first % FORMAT.elements / BLOCK_RUN));
  Pack<T, N> pack;
  for (int k = 0; k < N; ++k) pack.lane[k] = T(run[int(first % BLOCK_RUN) + k]);
  store(y + row * cols + first, pack);
}

template <typename T>
void gather_rows_of_blocks(const View& y, const View& table, const View& ids) {
  const Indices indices(ids, table.rows(), IndexKind::Embedding);
  with_pack<T>(
      [&](auto pack) {
        constexpr int N = decltype(pack)::value;
        with_blocks(table.dtype, [&](auto format) {
          launch(gather_blocks<decltype(format)::value, T, N>, ceil_div(ids.size() * (y.cols() / N), THREADS), THREADS,
                 y.as<T>(), table.as<uint8_t>(), indices, ids.size(), y.cols());
        });
      },
      y);
}

}  // namespace

// A table of f64 belongs to f64, and to nothing else.
void cuda::embedding(View y, View table, View ids) {
  if (is_blocks(table.dtype))
    return dispatch(y, [&](auto zero) { gather_rows_of_blocks<decltype(zero)>(y, table, ids); });
  dispatch(y, [&](auto zero) {
    dispatch(table, [&](auto stored) {
      using T = decltype(zero);
      using S = decltype(stored);
      if constexpr (std::is_same_v<T, double> == std::is_same_v<S, double>) gather_rows<T, S>(y, table, ids);
    });
  });
}

}  // namespace lowrank
