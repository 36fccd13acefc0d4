#pragma once
// Activation functions and their derivatives, one element at a time.
#include <cmath>

#include "core/kernels.h"

namespace lowrank::cpu {

inline constexpr double SQRT_HALF = 0.70710678118654752440, INV_SQRT_2PI = 0.39894228040143267794;
// gelu_tanh(x) = x sigmoid(2 u), u = GELU_A (x + GELU_B x^3)
inline constexpr double GELU_A = 0.79788456080286535588, GELU_B = 0.044715;

template <typename T>
T sigmoid(T x) {
  return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
}

template <typename T>
T activation_value(T x, Activation kind) {
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
T activation_slope(T x, Activation kind) {
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

}  // namespace lowrank::cpu
