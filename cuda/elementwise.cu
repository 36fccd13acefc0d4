// y = a + b, y = a * b, y += alpha x, y = alpha x; see elementwise.cuh.

#include "cuda/elementwise.cuh"
#include "cuda/reduce.cuh"

namespace lowrank {
namespace {

using namespace cuda;

struct Multiply {
  template <typename A>
  __device__ A operator()(A a, A b) const {
    return a * b;
  }
};

template <typename A>
struct AddScaled {
  __device__ A operator()(A y, A x) const { return y + alpha * x; }
  A alpha;
};

template <typename A>
struct Scale {
  __device__ A operator()(A x) const { return alpha * x; }
  A alpha;
};

}  // namespace

void cuda::add(View y, View a, View b) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    map<T, T, T>(Sum{}, y, a, b);
  });
}

void cuda::multiply(View y, View a, View b) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    map<T, T, T>(Multiply{}, y, a, b);
  });
}

void cuda::accumulate(View y, View x, double alpha) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    map<T, T, T>(AddScaled<Arithmetic<T>>{Arithmetic<T>(alpha)}, y, y, x);
  });
}

void cuda::scale(View y, View x, double alpha) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    map<T, T>(Scale<Arithmetic<T>>{Arithmetic<T>(alpha)}, y, x);
  });
}

}  // namespace lowrank
