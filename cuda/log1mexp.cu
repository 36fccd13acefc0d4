// y = log(1 - e^x) of log-probabilities, and its gradient; see elementwise.cuh. Tensors of a number an answer: launches
// are what it costs.

#include "cuda/elementwise.cuh"

namespace lowrank {
namespace {

using namespace cuda;

// A probability that rounds to 1 in f32 has no finite odds: x above this counts as it.
template <typename A>
__device__ A bounded(A x) {
  constexpr A LARGEST = A(-0x1p-24);
  return x > LARGEST ? LARGEST : x;
}

// Each of two forms keeps all digits on its side of -log 2 (Maechler 2012).
struct Value {
  template <typename A>
  __device__ A operator()(A given) const {
    const A x = bounded(given);
    return x > A(-0.6931471805599453) ? log(-expm1(x)) : log1p(-exp(x));
  }
};

struct Slope {
  template <typename A>
  __device__ A operator()(A dy, A x) const {
    return -dy / expm1(-bounded(x));
  }
};

}  // namespace

void cuda::log1mexp(View y, View x) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    map<T, T>(Value{}, y, x);
  });
}

void cuda::log1mexp_backward(View dx, View dy, View x) {
  dispatch(dx, [&](auto zero) {
    using T = decltype(zero);
    map<T, T, T>(Slope{}, dx, dy, x);
  });
}

}  // namespace lowrank
