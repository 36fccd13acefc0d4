#pragma once
// y[i] = f(a[i], b[i], …): what all elementwise kernels share. f is a functor from arithmetic values to one.
//
// One pack a thread, as many elements as the widest type has in 16 bytes; the ragged end, and everything where a tensor
// does not begin at a multiple of 16, element by element in the same thread. No reuse, so nothing is shared: at full
// occupancy 2,048 packs a multiprocessor are in flight, twice what the latency of HBM asks for. One pass; f32
// arithmetic, f64 for f64, rounded once. Bound by bandwidth: the target is the bytes of all operands / peak.
// y may be one of the inputs.

#include <algorithm>

#include "cuda/launch.cuh"

namespace lowrank::cuda {

constexpr int MAP_THREADS = 256;

template <int N, typename F, typename Y, typename... X>
__global__ void __launch_bounds__(MAP_THREADS) map_packs(F f, bool packed, int64_t n, Y* y, const X*... x) {
  const int64_t i = (int64_t(blockIdx.x) * MAP_THREADS + threadIdx.x) * N;
  if (packed && i + N <= n) {
    const auto apply = [&](const Pack<X, N>&... in) {
      Pack<Y, N> out;
      for (int k = 0; k < N; ++k) out.lane[k] = Y(f(Arithmetic<X>(in.lane[k])...));
      return out;
    };
    store(y + i, apply(load<N>(x + i)...));
  } else {
    for (int64_t j = i; j < i + N && j < n; ++j) y[j] = Y(f(Arithmetic<X>(x[j])...));
  }
}

// map<Y, A, B>(f, y, a, b): the element types of the views, in their order.
template <typename Y, typename... X, typename F, typename... Views>
void map(F f, const View& y, const Views&... x) {
  constexpr int N = int(16 / std::max({sizeof(Y), sizeof(X)...}));
  const bool packed = (aligned(y) && ... && aligned(x));
  launch(map_packs<N, F, Y, X...>, ceil_div(y.size(), MAP_THREADS * N), MAP_THREADS, f, packed, y.size(),
         y.template as<Y>(), static_cast<const X*>(x.data)...);
}

}  // namespace lowrank::cuda
