// y = a + b, elementwise.
//
// One 16-byte pack a thread, the ragged end element by element in the last thread; no reuse, so nothing is shared. One
// pass; f32 arithmetic, f64 for f64. Bound by bandwidth: the target is 3 * bytes(y) / peak.

#include "cuda/launch.cuh"

namespace lowrank {
namespace {

using namespace cuda;
constexpr int THREADS = 256;

template <typename T, int N>
__global__ void add_packs(T* y, const T* a, const T* b, int64_t n) {
  using A = Arithmetic<T>;
  const int64_t i = (int64_t(blockIdx.x) * THREADS + threadIdx.x) * N;
  if (i + N <= n) {
    Pack<T, N> sum = load<N>(a + i);
    const Pack<T, N> other = load<N>(b + i);
    for (int k = 0; k < N; ++k) sum.lane[k] = T(A(sum.lane[k]) + A(other.lane[k]));
    store(y + i, sum);
  } else {
    for (int64_t j = i; j < n; ++j) y[j] = T(A(a[j]) + A(b[j]));
  }
}

}  // namespace

void cuda::add(View y, View a, View b) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    with_pack<T>(
        [&](auto pack) {
          constexpr int N = decltype(pack)::value;
          launch(add_packs<T, N>, ceil_div(y.size(), THREADS * N), THREADS, y.as<T>(), a.as<T>(), b.as<T>(), y.size());
        },
        y, a, b);
  });
}

}  // namespace lowrank
