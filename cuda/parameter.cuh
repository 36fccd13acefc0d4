#pragma once
// Small operands beside activations of T: parameters, class weights, targets. They are of T, or f32 beside half
// precision (core/kernels.h); which is known when the kernel runs, so that it is compiled once.

#include "cuda/launch.cuh"

namespace lowrank::cuda {

template <typename T>
constexpr bool is_half_type = sizeof(T) == 2;

template <typename T>
struct Parameter {
  using A = Arithmetic<T>;
  explicit Parameter(const View& view) : data(view.data), wide(is_half_type<T> && view.dtype == DType::F32) {}

  __device__ bool present() const { return data != nullptr; }
  __device__ A operator[](int64_t i) const {
    if constexpr (is_half_type<T>)
      if (wide) return static_cast<const float*>(data)[i];
    return A(static_cast<const T*>(data)[i]);
  }
  // N neighbours from i on, a multiple of N; data begins at a multiple of 16 bytes where N > 1.
  template <int N>
  __device__ void load_to(A (&to)[N], int64_t i) const {
    if constexpr (is_half_type<T> && N % 4 == 0) {
      if (wide) {
#pragma unroll
        for (int k = 0; k < N; k += 4) {
          const auto pack = load<4>(static_cast<const float*>(data) + i + k);
          for (int j = 0; j < 4; ++j) to[k + j] = pack.lane[j];
        }
        return;
      }
    } else if constexpr (is_half_type<T>) {
      static_assert(N == 1);
      to[0] = (*this)[i];
      return;
    }
    const auto pack = load<N>(static_cast<const T*>(data) + i);
    for (int k = 0; k < N; ++k) to[k] = A(pack.lane[k]);
  }

  const void* data;
  bool wide;
};

// A number of f32 or f64 in device memory.
struct Scalar {
  explicit Scalar(const View& view) : data(view.data), wide(view.dtype == DType::F64) {}
  __device__ double get() const { return wide ? *static_cast<double*>(data) : double(*static_cast<float*>(data)); }
  __device__ void set(double value) const {
    if (wide) *static_cast<double*>(data) = value;
    else *static_cast<float*>(data) = float(value);
  }

  void* data;
  bool wide;
};

// Whether rows of `cols` elements of T, and all the views, can be read in packs of 16 bytes.
template <typename T, typename... Views>
bool rows_in_packs(int64_t cols, const Views&... views) {
  return cols % PACK<T> == 0 && (aligned(views) && ...);
}

// Of `view`, an element of any float type; of none 0. For epilogues, which read few of them.
template <typename A>
__device__ A element_of(const View& view, int64_t i) {
  if (!view.data) return A(0);
  switch (view.dtype) {
    case DType::F32: return A(static_cast<const float*>(view.data)[i]);
    case DType::F64: return A(static_cast<const double*>(view.data)[i]);
    case DType::F16: return A(float(static_cast<const __half*>(view.data)[i]));
    default: return A(float(static_cast<const __nv_bfloat16*>(view.data)[i]));
  }
}

}  // namespace lowrank::cuda
