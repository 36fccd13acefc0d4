#include "cpu/activation.h"

#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/half.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank {

using namespace cpu;

void cpu::activation(View y, View x, Activation kind) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(y.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>)
        return for_stretches(y, begin, end, [&](int64_t at, int64_t n) {
          float to[STRETCH], p[STRETCH];
          row_kernels().activation[int(kind)](target(y, at, to), read(x, at, n, p), n);
          round(y, at, n, to);
        });
      for (int64_t i = begin; i < end; ++i) y.as<T>()[i] = activation_value(x.as<T>()[i], kind);
    });
  });
}

void cpu::activation_backward(View dx, View dy, View x, Activation kind) {
  dispatch(dx, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(dx.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>)
        return for_stretches(dx, begin, end, [&](int64_t at, int64_t n) {
          float to[STRETCH], g[STRETCH], p[STRETCH];
          row_kernels().activation_backward[int(kind)](target(dx, at, to), read(dy, at, n, g), read(x, at, n, p), n);
          round(dx, at, n, to);
        });
      for (int64_t i = begin; i < end; ++i) dx.as<T>()[i] = dy.as<T>()[i] * activation_slope(x.as<T>()[i], kind);
    });
  });
}

}  // namespace lowrank
