// y = f(gate) up, and its gradients dgate = dy up f'(gate), dup = dy f(gate).
#include "core/kernels.h"
#include "cpu/activation.h"
#include "cpu/dispatch.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank {

using namespace cpu;

void cpu::gated_activation(View y, View gate, View up, Activation kind) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(y.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>)
        return row_kernels().gated[int(kind)](y.as<float>() + begin, gate.as<float>() + begin, up.as<float>() + begin,
                                              end - begin);
      for (int64_t i = begin; i < end; ++i) y.as<T>()[i] = activation_value(gate.as<T>()[i], kind) * up.as<T>()[i];
    });
  });
}

void cpu::gated_activation_backward(View dgate, View dup, View dy, View gate, View up, Activation kind) {
  dispatch(dy, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(dy.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>)
        return row_kernels().gated_backward[int(kind)](dgate.as<float>() + begin, dup.as<float>() + begin,
                                                       dy.as<float>() + begin, gate.as<float>() + begin,
                                                       up.as<float>() + begin, end - begin);
      for (int64_t i = begin; i < end; ++i) {
        const T g = gate.as<T>()[i], upstream = dy.as<T>()[i];
        dup.as<T>()[i] = upstream * activation_value(g, kind);
        dgate.as<T>()[i] = upstream * up.as<T>()[i] * activation_slope(g, kind);
      }
    });
  });
}

}  // namespace lowrank
