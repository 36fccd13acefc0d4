#pragma once
// Product::rope on the accumulators of a tile, where heads of 64, 128 or 256 columns are turned as a whole: of a pair,
// columns c and c + head_dim / 2, one thread has both, in the same rows. Each thread loads the cosines and sines of its
// rows once for all heads of the tile.
//
// Per tile of 128 x 256, heads of 128: 128 KB of the table from L2, 32 loads of 8 bytes a thread, beside 6 MB of
// operands at K 4096; about 3k of 65k clock cycles. A launch of its own, 2 bytes(y) once more, takes 12% of the
// product.

#include "cuda/gemm/hopper_epilogue.cuh"

namespace lowrank::cuda::gemm::sm90 {

// Of a thread's rows g and g + 8 of its warp's; 0 past the last.
struct Positions {
  int64_t upper = 0, lower = 0;
};

__device__ inline Positions positions_of(const Plan& plan, const Group& group, int row) {
  const int upper = row + group.warp * 16 + group.g, lower = upper + 8;
  return {upper < plan.m ? plan.positions[upper] : 0, lower < plan.m ? plan.positions[lower] : 0};
}

// d: two columns, in the upper row, then in the lower one.
__device__ __forceinline__ void rotate_pairs(float* a, float* b, const float* bias_a, const float* bias_b,
                                             const Pack<float, 2> (&cosines)[2], const Pack<float, 2> (&sines)[2]) {
  const Pack<float, 2> of_a = load<2>(bias_a), of_b = load<2>(bias_b);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float x = a[i] + of_a.lane[i % 2], y = b[i] + of_b.lane[i % 2];
    const float c = cosines[i / 2].lane[i % 2], s = sines[i / 2].lane[i % 2];
    a[i] = x * c - y * s;
    b[i] = y * c + x * s;
  }
}

// All heads of a tile; columns are in groups of 8, pairs Half groups apart.
template <int Half, int N>
__device__ __forceinline__ void rotate_heads(const Plan& plan, const Group& group, float (&d)[N], const float* bias,
                                             Positions positions) {
  const float* upper = plan.table + positions.upper * (16 * Half) + 2 * group.t;
  const float* lower = plan.table + positions.lower * (16 * Half) + 2 * group.t;
  bias += 2 * group.t;
#pragma unroll
  for (int i = 0; i < Half; ++i) {
    const Pack<float, 2> cosines[2] = {load<2>(upper + 8 * i), load<2>(lower + 8 * i)};
    const Pack<float, 2> sines[2] = {load<2>(upper + 8 * (Half + i)), load<2>(lower + 8 * (Half + i))};
#pragma unroll
    for (int j = i; j < N / 4; j += 2 * Half)
      rotate_pairs(d + 4 * j, d + 4 * (j + Half), bias + 8 * j, bias + 8 * (j + Half), cosines, sines);
  }
}

// A consumer's 64 rows from `row` on, bias and all, which is then 0.
template <int Columns>
__device__ __forceinline__ void rotate_tile(const Plan& plan, const Output& out, int index, float (&d)[Columns / 2],
                                            Pack<float, Columns / 128>& bias, Positions positions, int row) {
  const Group group(index);
  if (row >= plan.m) return;
  group.meet();  // the last tile's bias has been read
  for (int i = 0; i < Columns / 128; ++i) out.bias[threadIdx.x % 128 + 128 * unsigned(i)] = bias.lane[i];
  group.meet();
  if (plan.head_dim == 64) rotate_heads<4>(plan, group, d, out.bias, positions);
  else if (plan.head_dim == 128) rotate_heads<8>(plan, group, d, out.bias, positions);
  else if constexpr (Columns >= 256) rotate_heads<16>(plan, group, d, out.bias, positions);
  bias = {};
}

}  // namespace lowrank::cuda::gemm::sm90
