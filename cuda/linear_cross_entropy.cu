// Cross-entropy of the logits of a frozen head, x w^T + bias, in chunks of rows: the formulas are those of
// cpu/linear_cross_entropy.cpp. All logits never exist, and backward has nothing to do but a product with dloss.
//
// Of a chunk: logits by a product (cuda/linear.cu) into scratch, in x's type; a block of 256 per row turns them into
// their gradient in place; dx by another product (cuda/matmul.cu). No dw, since the head is frozen: 4 N V D operations
// where a head that trains has 6. The rows' kernel reads the chunk twice (running maximum, then gradient) and writes it
// once, in f32 (f64 for f64); losses are added up in f64 and in order, whatever the chunk. Bound by the two products;
// traffic of logits is 5 N V elements, with bf16 and a vocabulary of 128k an eighth of their time.

#include "cuda/indices.cuh"
#include "cuda/loss.cuh"
#include "cuda/softmax.cuh"

namespace lowrank {
namespace {

using namespace cuda;

template <typename T>
struct Chunk {
  using A = Arithmetic<T>;
  T* logits;  // [rows, classes]; their gradient afterwards
  Indices labels;
  double* losses;
  int64_t classes;
  int32_t ignore_index;
  A smoothing, cap, z_loss;
  bool gradient;
};

template <int N, typename T, typename A>
__device__ void capped(A (&z)[N], const T* from, A cap) {
  const auto pack = load<N>(from);
  for (int k = 0; k < N; ++k) {
    z[k] = A(pack.lane[k]);
    if (cap > 0) z[k] = cap * tanh(z[k] / cap);
  }
}

// d loss / d z of one logit.
template <typename T, typename A>
__device__ A slope(const Chunk<T>& p, A c, A lse, bool is_label) {
  const A share = (1 + 2 * p.z_loss * lse) * exponential<T>(c - lse);
  const A g = share - p.smoothing / A(p.classes) - (is_label ? 1 - p.smoothing : A(0));
  return p.cap > 0 ? g * (1 - c / p.cap) * (1 + c / p.cap) : g;
}

template <typename T, int N>
__global__ void __launch_bounds__(SOFTMAX_THREADS) chunk_rows(Chunk<T> p) {
  using A = Arithmetic<T>;
  constexpr int Threads = SOFTMAX_THREADS;
  SHARED(partial, Array<A, 3, SOFTMAX_WARPS>);
  const int64_t row = blockIdx.x;
  const int32_t label = p.labels[row];
  const bool ignored = label == p.ignore_index;
  T* z = p.logits + row * p.classes;
  A lse = 0;
  if (!ignored) {
    // The mean of what is subtracted is that of c - c0: nothing large cancels.
    A first[1], target[1], rest = 0;
    capped(first, z, p.cap);
    capped(target, z + label, p.cap);
    lse = log_sum_exp<T, N, Threads>(p.classes, partial, [&](int64_t i, A(&c)[N]) {
      capped(c, z + i, p.cap);
      for (int k = 0; k < N; ++k) rest += c[k] - first[0];
    });
    rest = reduce_row<Threads>(rest, partial[2], Sum{}) / A(p.classes);
    const A loss = (1 - p.smoothing) * (lse - target[0]) + p.smoothing * (lse - first[0] - rest) + p.z_loss * lse * lse;
    if (threadIdx.x == 0) p.losses[row] = double(loss);
  } else if (threadIdx.x == 0) {
    p.losses[row] = 0;
  }
  if (!p.gradient) return;
  __syncthreads();  // every thread has read its label's logit
  for (int64_t i = int(threadIdx.x) * N; i < p.classes; i += Threads * N) {
    A c[N];
    Pack<T, N> pack;
    capped(c, z + i, p.cap);
    for (int k = 0; k < N; ++k) pack.lane[k] = T(ignored ? A(0) : slope(p, c[k], lse, i + k == label));
    store(z + i, pack);
  }
}

template <typename T>
void run_chunk(const Chunk<T>& p, int64_t rows) {
  const View logits{p.logits, DType::F32, 0, {}};
  if (rows_in_packs<T>(p.classes, logits)) launch(chunk_rows<T, PACK<T>>, rows, SOFTMAX_THREADS, p);
  else launch(chunk_rows<T, 1>, rows, SOFTMAX_THREADS, p);
}

// y = scale * dloss * x
template <typename T, int N>
__global__ void __launch_bounds__(LOSS_THREADS)
    multiply_packs(T* y, Scalar dloss, double scale, const T* x, int64_t n) {
  using A = Arithmetic<T>;
  const int64_t i = (int64_t(blockIdx.x) * LOSS_THREADS + threadIdx.x) * N;
  if (i >= n) return;
  const A factor = A(scale * dloss.get());
  Pack<T, N> pack = load<N>(x + i);
  for (int k = 0; k < N; ++k) pack.lane[k] = T(factor * A(pack.lane[k]));
  store(y + i, pack);
}

}  // namespace

void cuda::linear_cross_entropy(View loss, View dx, View x, View w, View bias, View labels, LinearCrossEntropy o) {
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    using A = Arithmetic<T>;
    const int64_t rows = x.rows(), classes = w.rows();
    const Indices all = Indices(labels, classes, IndexKind::LinearLabel).except(o.ignore_index);
    Scratch sums(Owner::Losses), chunk(Owner::Logits);
    auto* losses = sums.take<double>(rows);
    auto* values = chunk.take<T>(std::min(o.chunk, rows) * classes);
    for (int64_t first = 0; first < rows; first += o.chunk) {
      const int64_t end = std::min(first + o.chunk, rows);
      const View logits{values, x.dtype, 2, {end - first, classes}};
      linear(logits, x.part(first, end - first), w, bias, o.compute, Rope{});
      run_chunk<T>({values, all.from(first), losses + first, classes, o.ignore_index, A(o.smoothing), A(o.softcap),
                    A(o.z_loss), bool(dx)},
                   end - first);
      if (dx) matmul(dx.part(first, end - first), logits, w, false, false, o.compute);
    }
    if (!o.count) launch(sum_losses, 1, LOSS_THREADS, Scalar(loss), losses, rows, o.scale);
    for (int32_t i = 0; i < o.count; losses += o.parts[i].rows, ++i)
      launch(sum_losses, 1, LOSS_THREADS, Scalar(loss.part(i, 1)), losses, o.parts[i].rows, o.parts[i].scale);
  });
}

void cuda::linear_cross_entropy_backward(View scaled, View dloss, View dx, double scale) {
  dispatch(dx, [&](auto zero) {
    using T = decltype(zero);
    const int64_t n = dx.size();
    const auto run = [&](auto pack) {
      constexpr int N = decltype(pack)::value;
      launch(multiply_packs<T, N>, ceil_div(n, int64_t(LOSS_THREADS) * N), LOSS_THREADS, scaled.as<T>(), Scalar(dloss),
             scale, dx.as<T>(), n);
    };
    if (rows_in_packs<T>(n, scaled, dx)) run(std::integral_constant<int, PACK<T>>{});
    else run(std::integral_constant<int, 1>{});
  });
}

}  // namespace lowrank
