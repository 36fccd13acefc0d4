#pragma once
// Elements of small matrices of adapters into the forms that products read: partial sums are added in the order of
// their pieces, in f32 (f64 for f64), and scaled before anything is rounded. In the launch that made the partial sums,
// by the block that comes last at a place (their order is the same whichever block that is); what is no sum, in other
// blocks beside it. Without tensor cores, in a launch of its own. What it reads L2 still has: at M 8192, N = K = 4096,
// r 16 2 MB of s, 8 MB of t, 4 MB each of da and db.

#include "cuda/last_block.cuh"
#include "cuda/lora/thin.h"

namespace lowrank::cuda::lora {

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
  for (int64_t k = p.line_begin + j; k < p.line_end; k += p.rank)
    if (k < 0 || k >= p.width) line[k * p.slab_j] = T(0.0f);
  if (j > 0) return;
  for (int64_t k = p.form == Form::Rounded ? p.rank : 3 * p.rank; k < p.width; ++k) line[k * p.slab_j] = T(0.0f);
}

template <typename T>
__device__ void cast_element(const CastFactor& p, int64_t i, int64_t j) {
  using A = Arithmetic<T>;
  const int64_t first = i * p.from_i + j * p.from_j;
  A value = 0;
  for (int piece = 0; piece < p.pieces; ++piece) value += read<A>(p.from, p.type, first + piece * p.plane);
  value *= A(p.factor);
  if (p.plain) write(p.plain, p.plain_type, i * p.plain_i + j * p.plain_j, value);
  if (p.slab) write_slab<T>(p, i, j, value);
}

// Rows [begin, begin + count), of which this thread has elements `at`, `at` + step, ...
template <typename T>
__device__ void cast_rows(const CastFactor& p, int64_t begin, int64_t count, int64_t at, int64_t step) {
  for (; at < count * p.rank; at += step)
    cast_element<T>(p, begin + (p.along_i ? at % count : at / p.rank), p.along_i ? at / count : at % p.rank);
}

// The blocks of one row of the grid, of a cast beside the launch's problems.
template <typename T, typename P>
__device__ void cast_apart(const Problems<P>& all) {
  const CastFactor& p = all.cast[P::MOST_CASTS - 1 - (int(blockIdx.y) - all.count)];
  cast_rows<T>(p, 0, p.count, int64_t(blockIdx.x) * blockDim.x + threadIdx.x, int64_t(gridDim.x) * blockDim.x);
}

// The block has written its partial sums at `place`, where `blocks` do: the last of them makes rows [begin, end) of the
// problem's casts. T: of slabs. `memory`: of the block, at least a byte, which it no longer needs.
template <typename T, typename P>
__device__ void finish_place(const Problems<P>& all, const Finish& own, unsigned place, unsigned blocks, int64_t begin,
                             int64_t end, unsigned char* memory) {
  if (own.count == 0 || !comes_last(all.counters + own.counter + place, blocks, memory)) return;
  for (int c = own.first; c < own.first + own.count; ++c) {
    const CastFactor& p = all.cast[c];
    cast_rows<T>(p, begin, min(end, int64_t(p.count)) - begin, threadIdx.x, blockDim.x);
  }
}

}  // namespace lowrank::cuda::lora
