#pragma once
// Product::rope on sums that aren't rounded yet, a pair of columns at a time: what the epilogues share. The formula is
// that of cpu/rope.cpp. Where a tile of y holds both columns of every pair, or sums of pieces of K are added up in a
// kernel of their own, rows are turned there; all other products are turned where they lie, once they are rounded.

#include "cuda/gemm/product.h"
#include "cuda/launch.cuh"

namespace lowrank::cuda::gemm {

// Whether there are pairs to turn, and tiles of `width` columns, beside each other from column 0 on, hold both columns.
inline bool holds_pairs(const Rope& rope, int64_t width) {
  return rope && rope.head_dim % 2 == 0 && (rope.interleaved || width % rope.head_dim == 0);
}

// y turned in place, as it is: for kernels whose tiles don't.
void turn_rounded(const Product& product);

// y = bias + sum over pieces of partial[pieces, m, pitch], in their order, turned: product.y, of f32, bf16 or f16.
void add_turned(const Product& product, const float* partial, int pieces, int64_t pitch);

// Columns of y that are turned together, by which angle of the table; -1: they stay.
struct Pair {
  int64_t first, second, angle;
};

// The u-th pair of a row. Heads have half as many as columns, an even number.
__device__ inline Pair pair_of(const Rope& rope, int64_t u) {
  const int64_t half = rope.head_dim / 2, pairs = rope.table.dims[1] / 2, i = u % half;
  const int64_t from = u / half * rope.head_dim;
  if (i < pairs && !rope.interleaved) return {from + i, from + i + pairs, i};
  return {from + 2 * i, from + 2 * i + 1, i < pairs ? i : -1};
}

// Of `view`, an element of any float type; of none 0.
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

// Cosine and sine of an angle in a row.
template <typename A>
struct Turn {
  __device__ void load(const Rope& rope, int64_t row, int64_t angle) {
    const int64_t rotary = rope.table.dims[1],
                  at = static_cast<const int32_t*>(rope.positions.data)[row] * rotary + angle;
    cosine = element_of<A>(rope.table, at), sine = element_of<A>(rope.table, at + rotary / 2);
  }
  __device__ void apply(A& a, A& b) const {
    const A x = a, y = b;
    a = x * cosine - y * sine;
    b = y * cosine + x * sine;
  }
  A cosine = 1, sine = 0;
};

}  // namespace lowrank::cuda::gemm
