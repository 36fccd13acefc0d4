// y = x v + bias? by columns: one pass forward, and one back, over what a layer gives.
#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/half.h"
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
    const Weight<T> scales(v), shift(bias);
    for_pieces(x.rows(), PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
      T* copies = row_copies<T>(2, cols);
      for (int64_t at = begin * cols; at < end * cols; at += cols) {
        T* to = target(y, at, copies);
        forward_row(to, read(x, at, cols, copies + cols), scales.data, shift.data, cols);
        round(y, at, cols, to);
      }
    });
  });
}

void cpu::scale_columns_backward(View dx, View dv, View dy, View x, View v) {
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    const int64_t rows = x.rows(), cols = x.cols(), pieces = ceil_div(rows, PIECE_ROWS);
    const Weight<T> scales(v);
    T* partial = dv ? static_cast<T*>(scratch(7, size_t(pieces * cols) * sizeof(T))) : nullptr;
    for_pieces(rows, PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t piece) {
      T* sums = partial ? partial + piece * cols : nullptr;
      for (int64_t c = 0; sums && c < cols; ++c) sums[c] = 0;
      T* copies = row_copies<T>(3, cols);
      for (int64_t at = begin * cols; at < end * cols; at += cols) {
        T* to = target(dx, at, copies);
        backward_row(to, sums, read(dy, at, cols, copies + cols), read(x, at, cols, copies + 2 * cols), scales.data,
                     cols);
        round(dx, at, cols, to);
      }
    });
    for (int64_t c = 0; dv && c < cols; ++c) {
      T total = 0;
      for (int64_t p = 0; p < pieces; ++p) total += partial[p * cols + c];
      dv.as<T>()[c] = total;
    }
  });
}

}  // namespace lowrank
