#pragma once
// Activation functions as functors of the storage type T, value(x) and slope(x). The formulas are those of
// cpu/activation.h, with accurate exp, erfc and tanh.

#include "cuda/elementwise.cuh"
#include "cuda/sigmoid.cuh"

namespace lowrank::cuda {

inline constexpr double SQRT_HALF = 0.70710678118654752440, INV_SQRT_2PI = 0.39894228040143267794;
// gelu_tanh(x) = x sigmoid(2 u), u = GELU_A (x + GELU_B x^3)
inline constexpr double GELU_A = 0.79788456080286535588, GELU_B = 0.044715;

template <typename A>
__device__ A gelu_gate(A x) {
  return sigmoid(2 * A(GELU_A) * (x + A(GELU_B) * x * x * x));
}

template <typename T>
struct Gelu {
  using A = Arithmetic<T>;
  __device__ static A cdf(A x) {
    if constexpr (sizeof(T) == 2) return A(0.5) + A(0.5) * erf(x * A(SQRT_HALF));
    else return A(0.5) * erfc(-x * A(SQRT_HALF));
  }
  __device__ static A value(A x) { return x * cdf(x); }
  __device__ static A slope(A x) { return cdf(x) + x * A(INV_SQRT_2PI) * exp(-x * x / 2); }
};

template <typename T>
struct GeluTanh {
  using A = Arithmetic<T>;
  __device__ static A value(A x) { return x * gelu_gate(x); }
  __device__ static A slope(A x) {
    const A s = gelu_gate(x);
    return s + x * s * (1 - s) * 2 * A(GELU_A) * (1 + 3 * A(GELU_B) * x * x);
  }
};

template <typename T>
struct Tanh {
  using A = Arithmetic<T>;
  __device__ static A value(A x) { return tanh(x); }
  __device__ static A slope(A x) {
    const A y = tanh(x);
    return (1 - y) * (1 + y);
  }
};

template <typename T>
struct Silu {
  using A = Arithmetic<T>;
  __device__ static A value(A x) { return x * sigmoid(x); }
  __device__ static A slope(A x) {
    const A s = sigmoid(x);
    return s * (1 + x * (1 - s));
  }
};

template <typename T>
struct Relu {
  using A = Arithmetic<T>;
  __device__ static A value(A x) { return x > 0 || x != x ? x : A(0); }
  __device__ static A slope(A x) { return x > 0 ? A(1) : A(0); }
};

// Calls f with a value of the functor's type.
template <typename T, typename F>
void dispatch_kind(Activation kind, F&& f) {
  switch (kind) {
    case Activation::Gelu: return f(Gelu<T>{});
    case Activation::GeluTanh: return f(GeluTanh<T>{});
    case Activation::Tanh: return f(Tanh<T>{});
    case Activation::Silu: return f(Silu<T>{});
    case Activation::Relu: return f(Relu<T>{});
  }
}

}  // namespace lowrank::cuda
