#include <cmath>

#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank {
namespace {

using namespace cpu;

constexpr double SQRT_HALF = 0.70710678118654752440, INV_SQRT_2PI = 0.39894228040143267794;
// gelu_tanh(x) = x sigmoid(2 u), u = GELU_A (x + GELU_B x^3)
constexpr double GELU_A = 0.79788456080286535588, GELU_B = 0.044715;

template <typename T>
T sigmoid(T x) {
  return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
}

template <typename T>
T forward(T x, Activation kind) {
  switch (kind) {
    case Activation::Gelu: return x * T(0.5) * std::erfc(-x * T(SQRT_HALF));
    case Activation::GeluTanh: return x * sigmoid(2 * T(GELU_A) * (x + T(GELU_B) * x * x * x));
    case Activation::Tanh: return std::tanh(x);
    case Activation::Silu: return x * sigmoid(x);
    case Activation::Relu: return x > 0 ? x : x != x ? x : T(0);
  }
  return x;
}

template <typename T>
T derivative(T x, Activation kind) {
  switch (kind) {
    case Activation::Gelu: return T(0.5) * std::erfc(-x * T(SQRT_HALF)) + x * T(INV_SQRT_2PI) * std::exp(-x * x / 2);
    case Activation::GeluTanh: {
      const T s = sigmoid(2 * T(GELU_A) * (x + T(GELU_B) * x * x * x));
      return s + x * s * (1 - s) * 2 * T(GELU_A) * (1 + 3 * T(GELU_B) * x * x);
    }
    case Activation::Tanh: {
      const T y = std::tanh(x);
      return 1 - y * y;
    }
    case Activation::Silu: {
      const T s = sigmoid(x);
      return s * (1 + x * (1 - s));
    }
    case Activation::Relu: return x > 0 ? T(1) : T(0);
  }
  return 1;
}

}  // namespace

void cpu::activation(View y, View x, Activation kind) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(y.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>)
        return row_kernels().activation[int(kind)](y.as<float>() + begin, x.as<float>() + begin, end - begin);
      for (int64_t i = begin; i < end; ++i) y.as<T>()[i] = forward(x.as<T>()[i], kind);
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
      for (int64_t i = begin; i < end; ++i) dx.as<T>()[i] = dy.as<T>()[i] * derivative(x.as<T>()[i], kind);
    });
  });
}

}  // namespace lowrank
