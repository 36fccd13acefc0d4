#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/half.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank {

void cpu::mse(View loss, View x, View targets, double scale) {
  if (runs_wide(1, cpu::mse, loss, x, targets, scale)) return;
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    const double sum = sum_pieces(x.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end) {
      if constexpr (std::is_same_v<T, float>)
        return row_kernels().squared_distance(x.as<float>() + begin, targets.as<float>() + begin, end - begin);
      double total = 0;
      for (int64_t i = begin; i < end; ++i) {
        const double d = double(x.as<T>()[i]) - double(targets.as<T>()[i]);
        total += d * d;
      }
      return total;
    });
    store_scalar(loss, scale * sum);
  });
}

void cpu::mse_backward(View dx, View dloss, View x, View targets, double scale) {
  if (runs_wide(1, cpu::mse_backward, dx, dloss, x, targets, scale)) return;
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    const double upstream = 2 * scale * load_scalar(dloss);
    for_pieces(x.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t i = begin; i < end; ++i)
        dx.as<T>()[i] = T(upstream * (double(x.as<T>()[i]) - double(targets.as<T>()[i])));
    });
  });
}

}  // namespace lowrank
