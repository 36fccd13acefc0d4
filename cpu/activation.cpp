#include "cpu/activation.h"

#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank {

using namespace cpu;

void cpu::activation(View y, View x, Activation kind) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(y.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>)
        return row_kernels().activation[int(kind)](y.as<float>() + begin, x.as<float>() + begin, end - begin);
      for (int64_t i = begin; i < end; ++i) y.as<T>()[i] = activation_value(x.as<T>()[i], kind);
    });
  });
}

void cpu::activation_backward(View dx, View dy, View x, Activation kind) {
  dispatch(dx, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(dx.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>)
        return row_kernels().activation_backward[int(kind)](dx.as<float>() + begin, dy.as<float>() + begin,
                                                            x.as<float>() + begin, end - begin);
      for (int64_t i = begin; i < end; ++i) dx.as<T>()[i] = dy.as<T>()[i] * activation_slope(x.as<T>()[i], kind);
    });
  });
}

}  // namespace lowrank
