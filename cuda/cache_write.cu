// Rows of k and v become rows slots[n] of the caches, converted to their type.
//
// One pack a thread, those of the values behind those of the keys. One pass. Bound by bandwidth, and so small that a
// launch costs more: the target is one launch a layer.

#include "cuda/indices.cuh"

namespace lowrank {
namespace {

using namespace cuda;
constexpr int THREADS = 256;

template <typename C, typename T>
struct Rows {
  C* cache;
  const T* x;
};

template <typename C, typename T, int N>
__global__ void __launch_bounds__(THREADS) write_rows(const Rows<C, T> keys, const Rows<C, T> values,
                                                      const Indices slots, int64_t rows, int64_t cols, bool packed) {
  const int64_t i = int64_t(blockIdx.x) * THREADS + threadIdx.x, packs = ceil_div(cols, N);
  const int64_t of = divide(i, packs), first = (i - of * packs) * N;
  if (of >= 2 * rows) return;
  const bool is_value = of >= rows;
  const int64_t row = is_value ? of - rows : of;
  const T* from = (is_value ? values.x : keys.x) + row * cols + first;
  C* to = (is_value ? values.cache : keys.cache) + int64_t(slots[row]) * cols + first;
  if (packed) {
    const Pack<T, N> given = load<N>(from);
    Pack<C, N> pack;
    for (int k = 0; k < N; ++k) pack.lane[k] = C(Arithmetic<T>(given.lane[k]));
    store(to, pack);
  } else {
    for (int k = 0; k < N && first + k < cols; ++k) to[k] = C(Arithmetic<T>(from[k]));
  }
}

template <typename C, typename T>
void write_all(const View& k_cache, const View& v_cache, const View& k, const View& v, const View& slots) {
  constexpr int N = int(16 / (sizeof(T) > sizeof(C) ? sizeof(T) : sizeof(C)));
  const bool packed = aligned(k_cache) && aligned(v_cache) && aligned(k) && aligned(v) && k.cols() % N == 0;
  const int64_t rows = slots.size(), cols = k.cols();
  launch(write_rows<C, T, N>, ceil_div(2 * rows * ceil_div(cols, N), THREADS), THREADS,
         Rows<C, T>{k_cache.as<C>(), k.as<T>()}, Rows<C, T>{v_cache.as<C>(), v.as<T>()},
         Indices(slots, k_cache.dims[0] * k_cache.dims[1], IndexKind::Slot), rows, cols, packed);
}

}  // namespace

void cuda::cache_write(View k_cache, View v_cache, View k, View v, View slots) {
  dispatch(k, [&](auto zero) {
    using T = decltype(zero);
    if (k_cache.dtype == k.dtype) return write_all<T, T>(k_cache, v_cache, k, v, slots);
    if constexpr (std::is_same_v<T, float>) write_all<__nv_bfloat16, float>(k_cache, v_cache, k, v, slots);
  });
}

}  // namespace lowrank
