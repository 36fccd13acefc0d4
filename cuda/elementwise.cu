// y = a + b, y = a * b (b of a's shape, or a row for all of a's), y += alpha x, y = alpha x; see elementwise.cuh.

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

// y = f(a, row) with the same row for all of a's: as map_packs; the row stays in L2.
template <int N, typename F, typename T>
__global__ void __launch_bounds__(MAP_THREADS)
    map_rows(F f, bool packed, int64_t n, int64_t cols, T* y, const T* a, const T* row) {
  using A = Arithmetic<T>;
  const int64_t i = (int64_t(blockIdx.x) * MAP_THREADS + threadIdx.x) * N;
  if (packed && i + N <= n) {
    const Pack<T, N> left = load<N>(a + i), right = load<N>(row + i % cols);
    Pack<T, N> out;
    for (int k = 0; k < N; ++k) out.lane[k] = T(f(A(left.lane[k]), A(right.lane[k])));
    store(y + i, out);
  } else {
    for (int64_t j = i; j < i + N && j < n; ++j) y[j] = T(f(A(a[j]), A(row[j % cols])));
  }
}

template <typename F>
void map_pair(F f, const View& y, const View& a, const View& b) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    if (b.size() == a.size()) return map<T, T, T>(f, y, a, b);
    constexpr int N = PACK<T>;
    const bool packed = aligned(y) && aligned(a) && aligned(b) && a.cols() % N == 0;
    launch(map_rows<N, F, T>, ceil_div(y.size(), MAP_THREADS * N), MAP_THREADS, f, packed, y.size(), a.cols(),
           y.as<T>(), a.as<T>(), b.as<T>());
  });
}

// A pair has the blocks of one row of the grid, which take as many turns as it is long.
template <typename T>
struct Pairs {
  struct Pair {
    T* y;
    const T* x;
    int64_t n;
  };
  Pair pair[Accumulations::MOST];
};
static_assert(sizeof(Pairs<double>) <= 4096, "parameters of a kernel");
constexpr int64_t MOST_BLOCKS_A_PAIR = 64;

template <typename T>
__global__ void __launch_bounds__(MAP_THREADS) accumulate_pairs(const __grid_constant__ Pairs<T> pairs) {
  using A = Arithmetic<T>;
  constexpr int N = PACK<T>;
  const auto [y, x, n] = pairs.pair[blockIdx.y];
  const bool packed = (reinterpret_cast<uintptr_t>(y) | reinterpret_cast<uintptr_t>(x)) % 16 == 0;
  for (int64_t i = (int64_t(blockIdx.x) * MAP_THREADS + threadIdx.x) * N; i < n;
       i += int64_t(gridDim.x) * MAP_THREADS * N) {
    if (packed && i + N <= n) {
      Pack<T, N> sum = load<N>(y + i);
      const Pack<T, N> more = load<N>(x + i);
      for (int k = 0; k < N; ++k) sum.lane[k] = T(A(sum.lane[k]) + A(more.lane[k]));
      store(y + i, sum);
    } else {
      for (int64_t j = i; j < i + N && j < n; ++j) y[j] = T(A(y[j]) + A(x[j]));
    }
  }
}

}  // namespace

// One launch for small tensors, such as the gradients of a layer's factors.
void cuda::accumulate_all(Accumulations list) {
  dispatch(list.pair[0].y, [&](auto zero) {
    using T = decltype(zero);
    Pairs<T> pairs = {};
    int64_t longest = 0;
    for (int i = 0; i < list.count; ++i) {
      const auto& [y, x] = list.pair[i];
      pairs.pair[i] = {y.as<T>(), x.as<T>(), y.size()};
      longest = std::max(longest, y.size());
    }
    const int64_t blocks = std::min(MOST_BLOCKS_A_PAIR, ceil_div(longest, MAP_THREADS * PACK<T>));
    launch(accumulate_pairs<T>, Launch{dim3(unsigned(blocks), unsigned(list.count)), dim3(MAP_THREADS)}, pairs);
  });
}

void cuda::add(View y, View a, View b) { map_pair(Sum{}, y, a, b); }

void cuda::multiply(View y, View a, View b) { map_pair(Multiply{}, y, a, b); }

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
