// Small matrices of adapters (a, b, s, t, and sums of da, db) into the forms that products read: see CastFactor.
//
// One thread an element, one row of the grid a matrix; partial sums are added in the order of their pieces, in f32 (f64
// for f64), and scaled before anything is rounded. Bound by the partial sums it reads, which the pass before has left
// in L2: at M 8192, N = K = 4096, r 16 they are 2 MB of s, 8 MB of t, 4 MB each of da and db.

#include "cuda/lora/thin.h"

namespace lowrank::cuda::lora {
namespace {

constexpr int THREADS = 256;

template <typename A>
__device__ A read(const void* from, DType type, int64_t i) {
  switch (type) {
    case DType::F32: return A(static_cast<const float*>(from)[i]);
    case DType::F64: return A(static_cast<const double*>(from)[i]);
    case DType::BF16: return A(float(static_cast<const __nv_bfloat16*>(from)[i]));
    default: return A(float(static_cast<const __half*>(from)[i]));
  }
}

template <typename A>
__device__ void write(void* to, DType type, int64_t i, A value) {
  switch (type) {
    case DType::F32: static_cast<float*>(to)[i] = float(value); return;
    case DType::F64: static_cast<double*>(to)[i] = double(value); return;
    case DType::BF16: static_cast<__nv_bfloat16*>(to)[i] = __nv_bfloat16(float(value)); return;
    default: static_cast<__half*>(to)[i] = __half(float(value));
  }
}

template <typename T, typename A>
__device__ void write_slab(const CastFactor& p, int64_t i, int64_t j, A value) {
  T* line = static_cast<T*>(p.slab) + i * p.slab_i;
  const T high = T(value);
  line[j * p.slab_j] = high;
  if (p.form != Form::Rounded) {
    const T low = T(value - A(high));
    line[(j + p.rank) * p.slab_j] = p.form == Form::Left ? low : high;
    line[(j + 2 * p.rank) * p.slab_j] = p.form == Form::Left ? high : low;
  }
  if (j > 0) return;
  for (int64_t k = p.form == Form::Rounded ? p.rank : 3 * p.rank; k < p.width; ++k) line[k * p.slab_j] = T(0.0f);
}

template <typename T>
__global__ void cast_elements(const __grid_constant__ CastFactors casts) {
  using A = Arithmetic<T>;
  const CastFactor& p = casts.list[blockIdx.y];
  const int64_t counts = max(p.count, p.padded_count), ranks = max(p.rank, p.padded_rank);
  const int64_t at = int64_t(blockIdx.x) * THREADS + threadIdx.x;
  if (at >= counts * ranks) return;
  const int64_t i = p.along_i ? at % counts : at / ranks, j = p.along_i ? at / counts : at % ranks;
  const bool inside = i < p.count && j < p.rank;
  A value = 0;
  if (inside) {
    const int64_t first = i * p.from_i + j * p.from_j;
    for (int64_t piece = 0; piece < p.pieces; ++piece) value += read<A>(p.from, p.type, first + piece * p.plane);
    value *= A(p.factor);
    if (p.plain) write(p.plain, p.plain_type, i * p.plain_i + j * p.plain_j, value);
    if (p.slab) write_slab<T>(p, i, j, value);
  }
  if (!p.high) return;
  const __nv_bfloat16 high = __nv_bfloat16(float(value));
  p.high[i * p.split_i + j * p.split_j] = high;
  if (p.low) p.low[i * p.split_i + j * p.split_j] = __nv_bfloat16(float(value) - float(high));
}

}  // namespace

void cast_factors(const CastFactors& casts, DType type) {
  int64_t most = 0;
  for (int k = 0; k < casts.count; ++k) {
    const CastFactor& p = casts.list[k];
    most = std::max(most, std::max(p.count, p.padded_count) * std::max(p.rank, p.padded_rank));
  }
  const int64_t blocks = ceil_div(most, THREADS);
  check(blocks <= INT32_MAX, Code::Unsupported, "loraLinear: ", most, " elements of a low-rank factor");
  View typed;
  typed.dtype = type;
  dispatch(typed, [&](auto zero) {
    launch(cast_elements<decltype(zero)>, Launch{dim3(unsigned(blocks), unsigned(casts.count)), dim3(THREADS)}, casts);
  });
}

}  // namespace lowrank::cuda::lora
