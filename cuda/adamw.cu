// One AdamW step over the arena, in place, with the factor of global norm clipping: the formula of cpu/adamw.cpp.
//
// One launch for all slices: a block owns 4,096 elements (2,048 of f64) of the arena, finds the first slice that ends
// after the first of them by bisection and walks on; what lies between slices is left alone. Its first thread
// works out the clip factor in f64, from the sum of squares on the device, so that the host need not know it. Slices
// begin at multiples of 256 bytes (lib/optim/arena.ts), so almost every pack lies in one slice; others go element by
// element. One pass, f32 arithmetic (f64 for f64). Bound by bandwidth: the target is 28 bytes a parameter / peak.

#include "cuda/adamw.cuh"

namespace lowrank {
namespace {

using namespace cuda;
constexpr int THREADS = 256, PACKS = 4;

template <typename T>
__global__ void __launch_bounds__(THREADS) adamw_packs(T* params, const T* grads, T* m, T* v, int64_t size,
                                                       Slices slices, AdamWRule<T> rule, Norm norm, bool packed) {
  constexpr int N = PACK<T>, CHUNK = THREADS * N * PACKS;
  SHARED(begin_at, int64_t);
  SHARED(clip, T);
  const int64_t first = int64_t(blockIdx.x) * CHUNK, last = min(first + CHUNK, size);
  if (threadIdx.x == 0) {
    begin_at = slices.first_after(first);
    clip = T(norm.factor());
  }
  __syncthreads();
  SliceCursor<T> cursor(slices, begin_at, rule);
  for (int64_t i = first + threadIdx.x * N; i < last; i += THREADS * N) {
    if (packed && cursor.holds(i, i + N)) {
      Pack<T, N> p = load<N>(params + i), p_m = load<N>(m + i), p_v = load<N>(v + i);
      const Pack<T, N> g = load<N>(grads + i);
      for (int k = 0; k < N; ++k) adamw_update(p.lane[k], g.lane[k], p_m.lane[k], p_v.lane[k], rule, cursor.rule, clip);
      store(params + i, p);
      store(m + i, p_m);
      store(v + i, p_v);
    } else {
      for (int64_t j = i; j < i + N && j < last; ++j)
        if (cursor.holds(j, j + 1)) adamw_update(params[j], grads[j], m[j], v[j], rule, cursor.rule, clip);
    }
  }
}

template <typename T>
void step(const View& params, const View& grads, const View& m, const View& v, const View& slices,
          const View& squared_norm, const AdamW& options) {
  const bool packed = aligned(params) && aligned(grads) && aligned(m) && aligned(v);
  launch(adamw_packs<T>, ceil_div(params.size(), THREADS * PACK<T> * PACKS), THREADS, params.as<T>(), grads.as<T>(),
         m.as<T>(), v.as<T>(), params.size(), Slices(slices), AdamWRule<T>(options), Norm(squared_norm, options.clip),
         packed);
}

}  // namespace

void cuda::adamw(View params, View grads, View m, View v, View slices, View squared_norm, AdamW options) {
  if (params.dtype == DType::F64) step<double>(params, grads, m, v, slices, squared_norm, options);
  else step<float>(params, grads, m, v, slices, squared_norm, options);
}

}  // namespace lowrank
