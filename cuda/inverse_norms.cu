// 1 / |w + s b a| by rows of w [out, in]: |w|^2 + 2 s b (a w^T) + s^2 b (a a^T) b^T.
//
// A thread a row: wa is read along its rows, a row of b by one thread, gram by all from L1. r (r + 2) multiply-adds a
// row, of a thousand rows: a launch is what it costs. Sums are f64, as on the CPU: what cancels is |w|^2.

#include "cuda/launch.cuh"

namespace lowrank {
namespace {

using namespace cuda;
constexpr int THREADS = 128;
// A row of zeros has a huge inverse, no infinite one.
constexpr double LEAST = 1e-30;

template <typename T>
__global__ void __launch_bounds__(THREADS) inverse_row_norms(T* y, const T* squares, const T* wa, const T* gram,
                                                             const T* b, double scale, int64_t out, int64_t r) {
  const int64_t o = int64_t(blockIdx.x) * THREADS + threadIdx.x;
  if (o >= out) return;
  const T* row = b + o * r;
  double sum = 0;
  for (int64_t i = 0; i < r; ++i) {
    double inner = 2 * double(wa[i * out + o]);
    for (int64_t j = 0; j < r; ++j) inner += scale * double(gram[i * r + j]) * double(row[j]);
    sum += inner * double(row[i]);
  }
  const double square = double(squares[o]) + scale * sum;
  y[o] = T(1 / sqrt(square > LEAST ? square : LEAST));
}

}  // namespace

void cuda::inverse_norms(View y, View squares, View wa, View gram, View b, double scale) {
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    launch(inverse_row_norms<T>, ceil_div(b.rows(), THREADS), THREADS, y.as<T>(), squares.as<T>(), wa.as<T>(),
           gram.as<T>(), b.as<T>(), scale, b.rows(), b.cols());
  };
  if (y.dtype == DType::F64) run(double{});
  else run(float{});
}

}  // namespace lowrank
