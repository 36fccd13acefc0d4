// y = x v + bias? by columns: one pass forward, and one back, over what a layer gives.
#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank {
namespace {

using namespace cpu;

template <typename T>
void forward_row(T* y, const T* x, const T* v, const T* bias, int64_t cols) {
  if constexpr (std::is_same_v<T, float>) return row_kernels().scale_columns(y, x, v, bias, cols);
  for (int64_t c = 0; c < cols; ++c) y[c] = x[c] * v[c] + (bias ? bias[c] : T(0));
}

// dx or sums may be null; dx may be dy.
template <typename T>
void backward_row(T* dx, T* sums, const T* dy, const T* x, const T* v, int64_t cols) {
  if constexpr (std::is_same_v<T, float>) return row_kernels().scale_columns_backward(dx, sums, dy, x, v, cols);
  for (int64_t c = 0; c < cols; ++c) {
    if (sums) sums[c] += dy[c] * x[c];
    if (dx) dx[c] = dy[c] * v[c];
  }
}

}  // namespace

void cpu::scale_columns(View y, View x, View v, View bias) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    const int64_t cols = x.cols();
    for_pieces(x.rows(), PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t r = begin; r < end; ++r)
        forward_row(y.as<T>() + r * cols, x.as<T>() + r * cols, v.as<T>(), bias.as<T>(), cols);
    });
  });
}

void cpu::scale_columns_backward(View dx, View dv, View dy, View x, View v) {
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    const int64_t rows = x.rows(), cols = x.cols(), pieces = ceil_div(rows, PIECE_ROWS);
    T* partial = dv ? static_cast<T*>(scratch(7, size_t(pieces * cols) * sizeof(T))) : nullptr;
    for_pieces(rows, PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t piece) {
      T* sums = partial ? partial + piece * cols : nullptr;
      for (int64_t c = 0; sums && c < cols; ++c) sums[c] = 0;
      for (int64_t r = begin; r < end; ++r)
        backward_row(dx ? dx.as<T>() + r * cols : nullptr, sums, dy.as<T>() + r * cols, x.as<T>() + r * cols, v.as<T>(),
                     cols);
    });
    for (int64_t c = 0; dv && c < cols; ++c) {
      T total = 0;
      for (int64_t p = 0; p < pieces; ++p) total += partial[p * cols + c];
      dv.as<T>()[c] = total;
    }
  });
}

}  // namespace lowrank
