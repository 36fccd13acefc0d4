// loss = scale * sum of (x - t)^2, and its gradient.
//
// Elementwise, in packs of 16 bytes; the sum as in cuda/loss.cuh. One pass: reads x and t, backward writes dx too. f32
// arithmetic, f64 for f64. Bound by bandwidth; regression heads have a column or two, so launches are what it costs.

#include "cuda/loss.cuh"

namespace lowrank {
namespace {

using namespace cuda;

template <typename T, int N, typename A>
__device__ void difference(A (&d)[N], const T* x, const Parameter<T>& t, int64_t i) {
  A target[N];
  const auto pack = load<N>(x + i);
  t.load_to(target, i);
  for (int k = 0; k < N; ++k) d[k] = A(pack.lane[k]) - target[k];
}

template <typename T, int N>
__global__ void __launch_bounds__(LOSS_THREADS)
    forward_elements(double* partial, const T* x, Parameter<T> t, int64_t n) {
  using A = Arithmetic<T>;
  sum_elements<N>(partial, n, [&](int64_t i) {
    A d[N], sum = 0;
    difference<T>(d, x, t, i);
    for (int k = 0; k < N; ++k) sum += d[k] * d[k];
    return sum;
  });
}

template <typename T, int N>
__global__ void __launch_bounds__(LOSS_THREADS)
    backward_elements(T* dx, Scalar dloss, double scale, const T* x, Parameter<T> t, int64_t n) {
  using A = Arithmetic<T>;
  const int64_t i = (int64_t(blockIdx.x) * LOSS_THREADS + threadIdx.x) * N;
  if (i >= n) return;
  const A upstream = A(2 * scale * dloss.get());
  A d[N];
  difference<T>(d, x, t, i);
  Pack<T, N> pack;
  for (int k = 0; k < N; ++k) pack.lane[k] = T(upstream * d[k]);
  store(dx + i, pack);
}

// Calls f(zero of T, pack) with the widest pack for the views.
template <typename F>
void with_elements(const View& x, const View& t, const View& dx, F&& f) {
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    if (rows_in_packs<T>(x.size(), x, t, dx)) f(zero, std::integral_constant<int, PACK<T>>{});
    else f(zero, std::integral_constant<int, 1>{});
  });
}

}  // namespace

void cuda::mse(View loss, View x, View targets, double scale) {
  with_elements(x, targets, View{}, [&](auto zero, auto pack) {
    using T = decltype(zero);
    constexpr int N = decltype(pack)::value;
    const int64_t blocks = loss_blocks(x.size(), N);
    Scratch sums(Owner::Losses);
    auto* partial = sums.take<double>(blocks);
    launch(forward_elements<T, N>, blocks, LOSS_THREADS, partial, x.as<T>(), Parameter<T>(targets), x.size());
    launch(sum_losses, 1, LOSS_THREADS, Scalar(loss), partial, blocks, scale);
  });
}

void cuda::mse_backward(View dx, View dloss, View x, View targets, double scale) {
  with_elements(x, targets, dx, [&](auto zero, auto pack) {
    using T = decltype(zero);
    constexpr int N = decltype(pack)::value;
    launch(backward_elements<T, N>, ceil_div(x.size(), int64_t(LOSS_THREADS) * N), LOSS_THREADS, dx.as<T>(),
           Scalar(dloss), scale, x.as<T>(), Parameter<T>(targets), x.size());
  });
}

}  // namespace lowrank
