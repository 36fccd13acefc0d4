// loss = scale * sum over rows of (1 - eps) w[y] nll(y) + eps / C sum_c w[c] nll(c),  nll(c) = lse - x[c], and its
// gradient.
//
// A warp per row of up to 1024 classes, else a block of 256: the row is read once forward (running maximum, cuda/
// softmax.cuh), and read and written once backward. f32 arithmetic, f64 for f64; the row losses are added up in f64 and
// in order. Bound by bandwidth: bytes(logits) forward and twice that backward / peak.

#include "cuda/indices.cuh"
#include "cuda/loss.cuh"
#include "cuda/softmax.cuh"

namespace lowrank {
namespace {

using namespace cuda;

template <typename T>
struct Rows {
  using A = Arithmetic<T>;
  const T* logits;
  Indices labels;
  Parameter<T> w;
  A* lse;
  int64_t rows, classes;
  int32_t ignore_index;
  A smoothing;
};

template <typename T>
Rows<T> rows_of(const View& logits, const View& labels, const View& weights, const View& lse, const CrossEntropy& o) {
  using A = Arithmetic<T>;
  const Indices indices = Indices(labels, logits.cols(), IndexKind::Label).except(o.ignore_index);
  return {logits.as<T>(), indices,       Parameter<T>(weights), lse.as<A>(),
          logits.rows(),  logits.cols(), o.ignore_index,        A(o.smoothing)};
}

// A row's part of the second term is eps / C ((lse - x0) sum w - sum w (x - x0)), x0 = x[0]: nothing large cancels.
template <typename T, int N, int Threads>
__global__ void __launch_bounds__(SOFTMAX_THREADS) forward_rows(double* losses, Rows<T> p) {
  using A = Arithmetic<T>;
  SHARED(partial, Array<A, 4, SOFTMAX_WARPS>);
  const int64_t row = softmax_row<Threads>();
  if (row >= p.rows) return;
  const bool first_lane = threadIdx.x % Threads == 0;
  const int32_t label = p.labels[row];
  if (label == p.ignore_index) {
    if (first_lane) p.lse[row] = 0, losses[row] = 0;
    return;
  }
  const T* x = p.logits + row * p.classes;
  const A x0 = A(x[0]);
  A weight = 0, weighted = 0;
  const A lse = log_sum_exp<T, N, Threads>(p.classes, partial, [&](int64_t c, A(&v)[N]) {
    const auto pack = load<N>(x + c);
    for (int k = 0; k < N; ++k) v[k] = A(pack.lane[k]);
    if (p.smoothing == 0) return;
    A w[N];
    if (p.w.present()) p.w.load_to(w, c);
    for (int k = 0; k < N; ++k) {
      const A each = p.w.present() ? w[k] : A(1);
      weight += each;
      weighted += each * (v[k] - x0);
    }
  });
  A loss = (1 - p.smoothing) * (p.w.present() ? p.w[label] : A(1)) * (lse - A(x[label]));
  if (p.smoothing != 0) {
    weight = reduce_row<Threads>(weight, partial[2], Sum{});
    weighted = reduce_row<Threads>(weighted, partial[3], Sum{});
    loss += p.smoothing / A(p.classes) * ((lse - x0) * weight - weighted);
  }
  if (first_lane) p.lse[row] = lse, losses[row] = double(loss);
}

// dx[c] = (on + each sum w) p[c] - each w[c] - [c = label] on:  on = (1 - eps) w[label], each = eps / C
template <typename T, int N, int Threads>
__global__ void __launch_bounds__(SOFTMAX_THREADS) backward_rows(T* dlogits, Scalar dloss, double scale, Rows<T> p) {
  using A = Arithmetic<T>;
  SHARED(partial, Array<A, SOFTMAX_WARPS>);
  const int64_t row = softmax_row<Threads>();
  if (row >= p.rows) return;
  const int lane = int(threadIdx.x) % Threads;
  const int32_t label = p.labels[row];
  const bool ignored = label == p.ignore_index, weighted = p.w.present() && !ignored;
  const T* x = p.logits + row * p.classes;
  T* dx = dlogits + row * p.classes;
  const A upstream = ignored ? A(0) : A(scale * dloss.get()), lse = p.lse[row];
  const A on = upstream * (1 - p.smoothing) * (weighted ? p.w[label] : A(1));
  const A each = upstream * p.smoothing / A(p.classes);
  A total = A(p.classes);
  if (weighted && p.smoothing != 0) {
    total = 0;
    for (int64_t c = lane; c < p.classes; c += Threads) total += p.w[c];
    total = reduce_row<Threads>(total, partial, Sum{});
  }
  const A factor = on + each * total;
  for (int64_t c = lane * N; c < p.classes; c += Threads * N) {
    Pack<T, N> pack = load<N>(x + c);
    A w[N];
    if (weighted) p.w.load_to(w, c);
    for (int k = 0; k < N; ++k) {
      A g = factor * exponential<T>(A(pack.lane[k]) - lse) - each * (weighted ? w[k] : A(1));
      if (c + k == label) g -= on;
      pack.lane[k] = T(ignored ? A(0) : g);
    }
    store(dx + c, pack);
  }
}

// Calls f(pack, threads of a row) with constants.
template <typename T, typename F>
void with_row(int64_t classes, bool packs, F&& f) {
  const auto with_threads = [&](auto pack) {
    if (classes <= WARP_CLASSES) f(pack, std::integral_constant<int, 32>{});
    else f(pack, std::integral_constant<int, SOFTMAX_THREADS>{});
  };
  if constexpr (sizeof(T) < 8)
    if (packs) return with_threads(std::integral_constant<int, PACK<T>>{});
  with_threads(std::integral_constant<int, 1>{});
}

}  // namespace

void cuda::cross_entropy(View loss, View lse, View logits, View labels, View weights, CrossEntropy options) {
  dispatch(logits, [&](auto zero) {
    using T = decltype(zero);
    const auto p = rows_of<T>(logits, labels, weights, lse, options);
    Scratch sums(Owner::Losses);
    auto* losses = sums.take<double>(p.rows);
    with_row<T>(p.classes, rows_in_packs<T>(p.classes, logits, weights), [&](auto pack, auto threads) {
      constexpr int N = decltype(pack)::value, Threads = decltype(threads)::value;
      launch(forward_rows<T, N, Threads>, ceil_div(p.rows, SOFTMAX_THREADS / Threads), SOFTMAX_THREADS, losses, p);
    });
    launch(sum_losses, 1, LOSS_THREADS, Scalar(loss), losses, p.rows, options.scale);
  });
}

void cuda::cross_entropy_backward(View dlogits, View dloss, View logits, View labels, View weights, View lse,
                                  CrossEntropy options) {
  dispatch(logits, [&](auto zero) {
    using T = decltype(zero);
    const auto p = rows_of<T>(logits, labels, weights, lse, options);
    with_row<T>(p.classes, rows_in_packs<T>(p.classes, dlogits, logits, weights), [&](auto pack, auto threads) {
      constexpr int N = decltype(pack)::value, Threads = decltype(threads)::value;
      launch(backward_rows<T, N, Threads>, ceil_div(p.rows, SOFTMAX_THREADS / Threads), SOFTMAX_THREADS,
             dlogits.as<T>(), Scalar(dloss), options.scale, p);
    });
  });
}

}  // namespace lowrank
