// y[D] = sum over the rows of x[N, D]; y[1] = sum of x; y[1] = sum of x^2.
//
// Partial sums of fixed pieces, then their sum, both in an order that the sizes alone decide; of rows in two launches,
// of totals in one, whose last block adds up.
// Columns: a block owns 32 packs of columns and a piece of at least 64 rows, a warp every eighth row; sums are f32 (f64
// for f64), and the partial ones 1/64 of what is read. Totals: a thread adds up a pack in f32, the packs of its
// stride in f64, and so do the block and the last one. One pass over x. Bound by bandwidth: the target is
// bytes(x) / peak.

#include "cuda/last_block.cuh"
#include "cuda/parameter.cuh"
#include "cuda/reduce.cuh"

namespace lowrank {
namespace {

using namespace cuda;
constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int64_t PIECE_ROWS = 64, MOST_PIECES = 256;

// ---- columns

// partial[piece, D]
template <typename T>
__global__ void __launch_bounds__(THREADS)
    sum_columns(Arithmetic<T>* partial, const T* x, int64_t rows, int64_t cols, int64_t piece, bool packed) {
  using A = Arithmetic<T>;
  constexpr int N = PACK<T>, TILE = 32 * N;
  static_assert(TILE <= THREADS);
  SHARED(sums, Array<A, WARPS, TILE>);
  const int warp = int(threadIdx.x) / 32, column = int(threadIdx.x) % 32 * N;
  const int64_t first = int64_t(blockIdx.x) * TILE, c = first + column;
  const int64_t end = min((int64_t(blockIdx.y) + 1) * piece, rows);
  A sum[N] = {};
  for (int64_t r = blockIdx.y * piece + warp; r < end; r += WARPS) {
    const T* from = x + r * cols + c;
    if (packed && c + N <= cols) {
      const Pack<T, N> pack = load<N>(from);
      for (int k = 0; k < N; ++k) sum[k] += A(pack.lane[k]);
    } else {
      for (int k = 0; k < N; ++k) sum[k] += c + k < cols ? A(from[k]) : A(0);
    }
  }
  for (int k = 0; k < N; ++k) sums[warp][column + k] = sum[k];
  __syncthreads();
  if (threadIdx.x >= TILE || first + threadIdx.x >= cols) return;
  A total = 0;
  for (int w = 0; w < WARPS; ++w) total += sums[w][threadIdx.x];
  partial[blockIdx.y * cols + first + threadIdx.x] = total;
}

// A block owns 32 columns, a warp every eighth piece.
template <typename A>
__global__ void __launch_bounds__(THREADS) add_pieces(A* y, const A* partial, int64_t pieces, int64_t cols) {
  SHARED(sums, Array<A, WARPS, 32>);
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  const int64_t c = int64_t(blockIdx.x) * 32 + lane;
  A sum = 0;
  for (int64_t p = warp; p < pieces && c < cols; p += WARPS) sum += partial[p * cols + c];
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || c >= cols) return;
  for (int w = 1; w < WARPS; ++w) sum += sums[w][lane];
  y[c] = sum;
}

// ---- totals

constexpr int64_t MOST_BLOCKS = 1024;

struct Square {
  template <typename A>
  __device__ A operator()(A x) const {
    return x * x;
  }
};
struct Value {
  template <typename A>
  __device__ A operator()(A x) const {
    return x;
  }
};

template <typename F, typename T>
__global__ void __launch_bounds__(THREADS)
    sum_strides(Scalar y, double* partial, unsigned* counter, const T* x, int64_t n, bool packed) {
  using A = Arithmetic<T>;
  constexpr int N = PACK<T>;
  SHARED(sums, Array<double, WARPS>);
  const F f{};
  double total = 0;
  for (int64_t i = (int64_t(blockIdx.x) * THREADS + threadIdx.x) * N; i < n; i += int64_t(gridDim.x) * THREADS * N) {
    if (packed && i + N <= n) {
      const Pack<T, N> pack = load<N>(x + i);
      A sum[N];
      for (int k = 0; k < N; ++k) sum[k] = f(A(pack.lane[k]));
#pragma unroll
      for (int width = N / 2; width > 0; width /= 2)
        for (int k = 0; k < width; ++k) sum[k] += sum[k + width];
      total += double(sum[0]);
    } else {
      for (int64_t j = i; j < i + N && j < n; ++j) total += double(f(A(x[j])));
    }
  }
  total = reduce_block<THREADS>(total, sums, Sum{});
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
  SHARED(last, unsigned char);
  if (!comes_last(counter, gridDim.x, &last)) return;
  total = 0;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += THREADS) total += partial[i];
  total = reduce_block<THREADS>(total, sums, Sum{});
  if (threadIdx.x == 0) y.set(total);
}

// The stride is a constant, not what the device has: sums are the same on every GPU.
template <typename F>
void total_of(const View& y, const View& x) {
  Scratch sums(Owner::Sums);
  auto* partial = sums.take<double>(MOST_BLOCKS);
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    const int64_t blocks = std::clamp<int64_t>(ceil_div(x.size(), 4 * THREADS * PACK<T>), 1, MOST_BLOCKS);
    launch(sum_strides<F, T>, blocks, THREADS, Scalar(y), partial, counters(), x.as<T>(), x.size(), aligned(x));
  });
}

}  // namespace

void cuda::sum_rows(View y, View x) {
  const int64_t rows = x.rows(), cols = x.cols();
  const int64_t piece = max(PIECE_ROWS, ceil_div(ceil_div(rows, MOST_PIECES), WARPS) * WARPS);
  const int64_t pieces = ceil_div(rows, piece);
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    using A = Arithmetic<T>;
    constexpr int64_t TILE = 32 * PACK<T>;
    const bool direct = pieces == 1, packed = aligned(x) && cols % PACK<T> == 0;
    Scratch sums(Owner::Sums);
    auto* partial = direct ? y.as<A>() : sums.take<A>(pieces * cols);
    launch(sum_columns<T>, Launch{dim3(unsigned(ceil_div(cols, TILE)), unsigned(pieces)), dim3(THREADS)}, partial,
           x.as<T>(), rows, cols, piece, packed);
    if (!direct) launch(add_pieces<A>, ceil_div(cols, 32), THREADS, y.as<A>(), partial, pieces, cols);
  });
}

void cuda::sum(View y, View x) { total_of<Value>(y, x); }
void cuda::sum_squares(View y, View x) { total_of<Square>(y, x); }

}  // namespace lowrank
