// y = f(gate) * up, and its gradients dgate = dy up f'(gate), dup = dy f(gate): SwiGLU, GEGLU, ReGLU.
//
// Elementwise, a pack of 16 bytes a thread (cuda/elementwise.cuh, cuda/activation.cuh). Forward reads two tensors and
// writes one; backward reads three and writes two, dgate over dy where the caller likes: f(gate) is made again, so that
// nothing but gate and up is kept. One pass, f32 arithmetic, f64 for f64. Bound by bandwidth: the target is the bytes
// of all operands / peak.

#include "cuda/activation.cuh"

namespace lowrank {
namespace {

using namespace cuda;

template <typename F>
struct Gated {
  template <typename A>
  __device__ A operator()(A gate, A up) const {
    return F::value(gate) * up;
  }
};

template <typename F, typename T, int N>
__device__ void backward_pack(T* dgate, T* dup, const T* dy, const T* gate, const T* up) {
  using A = Arithmetic<T>;
  Pack<T, N> a = load<N>(gate), b = load<N>(up);
  const Pack<T, N> upstream = load<N>(dy);
  for (int k = 0; k < N; ++k) {
    const A g = A(a.lane[k]), u = A(b.lane[k]), d = A(upstream.lane[k]);
    a.lane[k] = T(d * u * F::slope(g));
    b.lane[k] = T(d * F::value(g));
  }
  store(dgate, a);
  store(dup, b);
}

// dgate may be dy.
template <typename F, typename T>
__global__ void __launch_bounds__(MAP_THREADS)
    backward_packs(F, bool packed, int64_t n, T* dgate, T* dup, const T* dy, const T* gate, const T* up) {
  constexpr int N = PACK<T>;
  const int64_t i = (int64_t(blockIdx.x) * MAP_THREADS + threadIdx.x) * N;
  if (packed && i + N <= n) {
    backward_pack<F, T, N>(dgate + i, dup + i, dy + i, gate + i, up + i);
  } else {
    for (int64_t j = i; j < i + N && j < n; ++j) backward_pack<F, T, 1>(dgate + j, dup + j, dy + j, gate + j, up + j);
  }
}

}  // namespace

void cuda::gated_activation(View y, View gate, View up, Activation kind) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    dispatch_kind<T>(kind, [&](auto function) { map<T, T, T>(Gated<decltype(function)>{}, y, gate, up); });
  });
}

void cuda::gated_activation_backward(View dgate, View dup, View dy, View gate, View up, Activation kind) {
  dispatch(dy, [&](auto zero) {
    using T = decltype(zero);
    const bool packed = aligned(dgate) && aligned(dup) && aligned(dy) && aligned(gate) && aligned(up);
    dispatch_kind<T>(kind, [&](auto function) {
      launch(backward_packs<decltype(function), T>, ceil_div(dy.size(), MAP_THREADS * PACK<T>), MAP_THREADS, function,
             packed, dy.size(), dgate.as<T>(), dup.as<T>(), dy.as<T>(), gate.as<T>(), up.as<T>());
    });
  });
}

}  // namespace lowrank
