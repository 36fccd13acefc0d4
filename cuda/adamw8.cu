// AdamW with moments of 8 bits: the formula of cpu/adamw8.cpp, in place.
//
// A warp owns a block of 256 elements, eight a lane: it widens the codes through a table in shared memory, updates in
// f32 (f64 for f64), finds the largest of the block by shuffles and narrows by bisection between the middles of the
// table. Slices and the clip factor as in adamw.cu. One pass: 16 bytes a parameter where f32 states take 28. Sixteen
// steps of bisection an element, through conflicting banks, cost about twice the time of the bytes on an H100; the
// reason for 8 bits is memory, not speed.

#include "core/code_book.h"
#include "cuda/adamw.cuh"
#include "cuda/reduce.cuh"

namespace lowrank {
namespace {

using namespace cuda;
constexpr int THREADS = 256, WARPS = THREADS / 32, ROUNDS = 2, LANE = STATE_BLOCK / 32;
constexpr int CHUNK = STATE_BLOCK * WARPS * ROUNDS;

struct Books {
  CodeBook m = code_book(true), v = code_book(false);
};

// A code book with the middles between its values.
struct Codes {
  __device__ void fill(const CodeBook& book, int code) {
    value[code] = book.value[code];
    if (code < 255) middle[code] = 0.5f * (book.value[code] + book.value[code + 1]);
  }
  // The nearest code; of two, the lower one.
  __device__ int nearest(float x) const {
    int code = 0;
    for (int step = 128; step > 0; step /= 2)
      if (x > middle[code + step - 1]) code += step;
    return code;
  }
  float value[256], middle[256];
};

// Eight elements of a lane.
template <typename T>
__device__ void take(T (&to)[LANE], const T* from, int64_t left, bool packed) {
  constexpr int N = PACK<T>;
#pragma unroll
  for (int k = 0; k < LANE; k += N) {
    if (packed && left >= LANE) {
      const Pack<T, N> pack = load<N>(from + k);
      for (int i = 0; i < N; ++i) to[k + i] = pack.lane[i];
    } else {
      for (int i = 0; i < N; ++i) to[k + i] = k + i < left ? from[k + i] : T(0);
    }
  }
}

template <typename T>
__device__ void put(T* to, const T (&from)[LANE], int64_t left, bool packed) {
  constexpr int N = PACK<T>;
#pragma unroll
  for (int k = 0; k < LANE; k += N) {
    if (packed && left >= LANE) {
      Pack<T, N> pack;
      for (int i = 0; i < N; ++i) pack.lane[i] = from[k + i];
      store(to + k, pack);
    } else {
      for (int i = 0; i < N; ++i)
        if (k + i < left) to[k + i] = from[k + i];
    }
  }
}

template <typename T>
__device__ void widen(T (&to)[LANE], const uint8_t* codes, float scale, int64_t left, bool packed, const Codes& book) {
  Pack<uint8_t, LANE> pack;
  if (packed && left >= LANE) pack = load<LANE>(codes);
  else
    for (int k = 0; k < LANE; ++k) pack.lane[k] = k < left ? codes[k] : uint8_t(0);
#pragma unroll
  for (int k = 0; k < LANE; ++k) to[k] = k < left ? T(book.value[pack.lane[k]]) * T(scale) : T(0);
}

// A second moment above 0 never becomes 0: where the first is larger, the next step would be huge.
template <bool SIGNED, typename T>
__device__ void narrow(uint8_t* codes, float* scale, const T (&from)[LANE], int64_t left, bool packed,
                       const Codes& book) {
  float largest = 0;
#pragma unroll
  for (int k = 0; k < LANE; ++k) largest = Maximum{}(largest, fabsf(float(from[k])));
  largest = reduce_warp(largest, Maximum{});
  Pack<uint8_t, LANE> pack;
#pragma unroll
  for (int k = 0; k < LANE; ++k) {
    const int code = book.nearest(largest > 0 ? float(from[k]) / largest : 0.0f);
    pack.lane[k] = uint8_t(!SIGNED && code == 0 && from[k] > 0 ? 1 : code);
  }
  if (packed && left >= LANE) store(codes, pack);
  else
    for (int k = 0; k < LANE; ++k)
      if (k < left) codes[k] = pack.lane[k];
  if (threadIdx.x % 32 == 0) *scale = largest;
}

template <typename T>
struct Arrays {
  T* params;
  const T* grads;
  uint8_t *m, *v;
  float *m_scale, *v_scale;
  int64_t size;
  bool packed;
};

template <typename T>
__global__ void __launch_bounds__(THREADS)
    adamw_blocks(Arrays<T> a, Slices slices, AdamWRule<T> rule, Norm norm, const __grid_constant__ Books books) {
  SHARED(codes_m, Codes);
  SHARED(codes_v, Codes);
  SHARED(clip, T);
  codes_m.fill(books.m, int(threadIdx.x));
  codes_v.fill(books.v, int(threadIdx.x));
  if (threadIdx.x == 0) clip = T(norm.factor());
  __syncthreads();
  const int64_t first = int64_t(blockIdx.x) * CHUNK + threadIdx.x / 32 * STATE_BLOCK * ROUNDS;
  SliceCursor<T> cursor(slices, slices.first_after(first), rule);
  for (int round = 0; round < ROUNDS; ++round) {
    const int64_t begin = first + round * STATE_BLOCK, i = begin + threadIdx.x % 32 * LANE, left = a.size - i;
    if (begin >= a.size) return;
    float* const m_scale = a.m_scale + begin / STATE_BLOCK;
    float* const v_scale = a.v_scale + begin / STATE_BLOCK;
    T p[LANE], g[LANE], m[LANE], v[LANE];
    take(p, a.params + i, left, a.packed);
    take(g, a.grads + i, left, a.packed);
    widen(m, a.m + i, *m_scale, left, a.packed, codes_m);
    widen(v, a.v + i, *v_scale, left, a.packed, codes_v);
    __syncwarp();  // all have read the scales
    const bool whole = cursor.holds(i, i + LANE);
#pragma unroll
    for (int k = 0; k < LANE; ++k) {
      if (k < left && (whole || cursor.holds(i + k, i + k + 1)))
        adamw_update(p[k], g[k], m[k], v[k], rule, cursor.rule, clip);
      else m[k] = v[k] = T(0);  // codes of what no slice holds say nothing: they would move the block's scale
    }
    put(a.params + i, p, left, a.packed);
    narrow<true>(a.m + i, m_scale, m, left, a.packed, codes_m);
    narrow<false>(a.v + i, v_scale, v, left, a.packed, codes_v);
  }
}

template <typename T>
void step(Arrays<T> arrays, const View& slices, const View& squared_norm, const AdamW& options) {
  static const Books books;
  launch(adamw_blocks<T>, ceil_div(arrays.size, CHUNK), THREADS, arrays, Slices(slices), AdamWRule<T>(options),
         Norm(squared_norm, options.clip), books);
}

}  // namespace

void cuda::adamw8(View params, View grads, View m, View v, View m_scale, View v_scale, View slices, View squared_norm,
                  AdamW options) {
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    step<T>({params.as<T>(), grads.as<T>(), m.as<uint8_t>(), v.as<uint8_t>(), m_scale.as<float>(), v_scale.as<float>(),
             params.size(), aligned(params) && aligned(grads) && aligned(m) && aligned(v)},
            slices, squared_norm, options);
  };
  if (params.dtype == DType::F64) run(double{});
  else run(float{});
}

}  // namespace lowrank
