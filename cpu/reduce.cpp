#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/half.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank {

void cpu::sum_rows(View y, View x) {
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    const int64_t rows = x.rows(), cols = x.cols(), pieces = ceil_div(rows, PIECE_ROWS);
    auto* partial = static_cast<T*>(scratch(7, size_t(pieces * cols) * sizeof(T)));
    for_pieces(rows, PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t piece) {
      T* sum = partial + piece * cols;
      for (int64_t c = 0; c < cols; ++c) sum[c] = 0;
      auto* copy = static_cast<float*>(scratch(6, is_bf16(x) ? size_t(cols) * sizeof(float) : 0));
      for (int64_t r = begin; r < end; ++r)
        if constexpr (std::is_same_v<T, float>) row_kernels().add(sum, sum, read(x, r * cols, cols, copy), cols);
        else
          for (int64_t c = 0; c < cols; ++c) sum[c] += x.as<T>()[r * cols + c];
    });
    for (int64_t c = 0; c < cols; ++c) {
      T total = 0;
      for (int64_t p = 0; p < pieces; ++p) total += partial[p * cols + c];
      y.as<T>()[c] = total;
    }
  });
}

void cpu::sum(View y, View x) {
  if (runs_wide(1, cpu::sum, y, x)) return;
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    store_scalar(y, sum_pieces(x.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end) {
                   if constexpr (std::is_same_v<T, float>) return row_kernels().sum(x.as<float>() + begin, end - begin);
                   double total = 0;
                   for (int64_t i = begin; i < end; ++i) total += double(x.as<T>()[i]);
                   return total;
                 }));
  });
}

void cpu::sum_squares(View y, View x) {
  if (runs_wide(1, cpu::sum_squares, y, x)) return;
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    store_scalar(y, sum_pieces(x.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end) {
                   if constexpr (std::is_same_v<T, float>)
                     return row_kernels().sum_squares(x.as<float>() + begin, end - begin);
                   double total = 0;
                   for (int64_t i = begin; i < end; ++i) total += double(x.as<T>()[i]) * double(x.as<T>()[i]);
                   return total;
                 }));
  });
}

}  // namespace lowrank
