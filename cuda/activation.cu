// y = f(x) and dx = dy f'(x) of GELU (erf and tanh form), tanh, SiLU and ReLU; see elementwise.cuh. The formulas are
// those of cpu/activation.h, with accurate exp, erfc and tanh. Half precision takes erf for erfc, which halves the
// instructions: what that loses in the negative tail, an error of 2e-7 where |gelu(x)| < 1e-2, is less than it rounds.
// Bound by bandwidth with 4-byte elements; with 2-byte ones, about 30 instructions an element come close to it.

#include "cuda/activation.cuh"

namespace lowrank {
namespace {

using namespace cuda;

template <typename F>
struct Forward {
  template <typename A>
  __device__ A operator()(A x) const {
    return F::value(x);
  }
};

template <typename F>
struct Backward {
  template <typename A>
  __device__ A operator()(A dy, A x) const {
    return dy * F::slope(x);
  }
};

}  // namespace

void cuda::activation(View y, View x, Activation kind) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    dispatch_kind<T>(kind, [&](auto function) { map<T, T>(Forward<decltype(function)>{}, y, x); });
  });
}

void cuda::activation_backward(View dx, View dy, View x, Activation kind) {
  dispatch(dx, [&](auto zero) {
    using T = decltype(zero);
    dispatch_kind<T>(kind, [&](auto function) { map<T, T, T>(Backward<decltype(function)>{}, dx, dy, x); });
  });
}

}  // namespace lowrank
