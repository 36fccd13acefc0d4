// Binary cross-entropy of logits, w t softplus(-x) + (1 - t) softplus(x) with w = 1 without positive weights, and its
// gradient.
//
// Elementwise, in packs of 16 bytes; the sum as in cuda/loss.cuh. One pass: reads x and t, backward writes dx too. f32
// arithmetic, f64 for f64. Bound by bandwidth; the heads that use it have few labels, so launches are what it costs.

#include "cuda/loss.cuh"
#include "cuda/sigmoid.cuh"

namespace lowrank {
namespace {

using namespace cuda;

// log(1 + e^x) without overflow.
template <typename A>
__device__ A softplus(A x) {
  return (x > 0 ? x : A(0)) + log1p(exp(-fabs(x)));
}

template <typename T>
struct Elements {
  const T* x;
  Parameter<T> t, w;
  int64_t n, cols;
};

template <typename T, int N, typename A>
__device__ void read(A (&x)[N], A (&t)[N], A (&w)[N], const Elements<T>& p, int64_t i) {
  const auto pack = load<N>(p.x + i);
  p.t.load_to(t, i);
  for (int k = 0; k < N; ++k) {
    x[k] = A(pack.lane[k]);
    w[k] = p.w.present() ? p.w[(i + k) % p.cols] : A(1);
  }
}

template <typename T, int N>
__global__ void __launch_bounds__(LOSS_THREADS) forward_elements(double* partial, Elements<T> p) {
  using A = Arithmetic<T>;
  sum_elements<N>(partial, p.n, [&](int64_t i) {
    A x[N], t[N], w[N], sum = 0;
    read<T>(x, t, w, p, i);
    for (int k = 0; k < N; ++k) sum += w[k] * t[k] * softplus(-x[k]) + (1 - t[k]) * softplus(x[k]);
    return sum;
  });
}

template <typename T, int N>
__global__ void __launch_bounds__(LOSS_THREADS) backward_elements(T* dx, Scalar dloss, double scale, Elements<T> p) {
  using A = Arithmetic<T>;
  const int64_t i = (int64_t(blockIdx.x) * LOSS_THREADS + threadIdx.x) * N;
  if (i >= p.n) return;
  const A upstream = A(scale * dloss.get());
  A x[N], t[N], w[N];
  read<T>(x, t, w, p, i);
  Pack<T, N> pack;
  for (int k = 0; k < N; ++k) pack.lane[k] = T(upstream * ((1 - t[k]) * sigmoid(x[k]) - w[k] * t[k] * sigmoid(-x[k])));
  store(dx + i, pack);
}

// Calls f(zero of T, pack, elements) with the widest pack for the views.
template <typename F>
void with_elements(const View& x, const View& t, const View& w, const View& dx, F&& f) {
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    const Elements<T> p{x.as<T>(), Parameter<T>(t), Parameter<T>(w), x.size(), x.cols()};
    if (rows_in_packs<T>(p.n, x, t, dx)) f(zero, std::integral_constant<int, PACK<T>>{}, p);
    else f(zero, std::integral_constant<int, 1>{}, p);
  });
}

}  // namespace

void cuda::bce(View loss, View logits, View targets, View positive_weights, double scale) {
  with_elements(logits, targets, positive_weights, View{}, [&](auto zero, auto pack, const auto& p) {
    using T = decltype(zero);
    constexpr int N = decltype(pack)::value;
    const int64_t blocks = loss_blocks(p.n, N);
    Scratch sums(Owner::Losses);
    auto* partial = sums.take<double>(blocks);
    launch(forward_elements<T, N>, blocks, LOSS_THREADS, partial, p);
    launch(sum_losses, 1, LOSS_THREADS, Scalar(loss), partial, blocks, scale);
  });
}

void cuda::bce_backward(View dlogits, View dloss, View logits, View targets, View positive_weights, double scale) {
  with_elements(logits, targets, positive_weights, dlogits, [&](auto zero, auto pack, const auto& p) {
    using T = decltype(zero);
    constexpr int N = decltype(pack)::value;
    launch(backward_elements<T, N>, ceil_div(p.n, int64_t(LOSS_THREADS) * N), LOSS_THREADS, dlogits.as<T>(),
           Scalar(dloss), scale, p);
  });
}

}  // namespace lowrank
