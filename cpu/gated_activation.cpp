// y = f(gate) up, and its gradients dgate = dy up f'(gate), dup = dy f(gate).
#include "core/kernels.h"
#include "cpu/activation.h"
#include "cpu/dispatch.h"
#include "cpu/half.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank {

using namespace cpu;

void cpu::gated_activation(View y, View gate, View up, Activation kind) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(y.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>)
        return for_stretches(y, begin, end, [&](int64_t at, int64_t n) {
          float to[STRETCH], g[STRETCH], u[STRETCH];
          row_kernels().gated[int(kind)](target(y, at, to), read(gate, at, n, g), read(up, at, n, u), n);
          round(y, at, n, to);
        });
      for (int64_t i = begin; i < end; ++i) y.as<T>()[i] = activation_value(gate.as<T>()[i], kind) * up.as<T>()[i];
    });
  });
}

void cpu::gated_activation_backward(View dgate, View dup, View dy, View gate, View up, Activation kind) {
  dispatch(dy, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(dy.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>)
        return for_stretches(dy, begin, end, [&](int64_t at, int64_t n) {
          float to_gate[STRETCH], to_up[STRETCH], upstream[STRETCH], g[STRETCH], u[STRETCH];
          row_kernels().gated_backward[int(kind)](target(dgate, at, to_gate), target(dup, at, to_up),
                                                  read(dy, at, n, upstream), read(gate, at, n, g), read(up, at, n, u),
                                                  n);
          round(dgate, at, n, to_gate);
          round(dup, at, n, to_up);
        });
      for (int64_t i = begin; i < end; ++i) {
        const T g = gate.as<T>()[i], upstream = dy.as<T>()[i];
        dup.as<T>()[i] = upstream * activation_value(g, kind);
        dgate.as<T>()[i] = upstream * up.as<T>()[i] * activation_slope(g, kind);
      }
    });
  });
}

}  // namespace lowrank
