// Products whose rows are turned (Product::rope) outside of a tile's epilogue: see rope.cuh. The
// formula is that of cpu/rope.cpp.
//
// add_rotated: one pair of columns a thread; neighbouring threads have neighbouring pairs. f32. One pass over the
// partial sums, which L2 mostly still has; bound by reading them.

#include "cuda/gemm/rope.cuh"
#include "cuda/indices.cuh"
#include "cuda/parameter.cuh"

namespace lowrank::cuda::gemm {
namespace {

constexpr int THREADS = 256;

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

// Cosine and sine of the angle of a row's position.
struct Rotation {
  __device__ void load(const View& table, int64_t position, int64_t angle) {
    const int64_t rotary = table.dims[1], at = position * rotary + angle;
    cosine = element_of<float>(table, at), sine = element_of<float>(table, at + rotary / 2);
  }
  __device__ void apply(float& a, float& b) const {
    const float x = a, y = b;
    a = x * cosine - y * sine;
    b = y * cosine + x * sine;
  }
  float cosine = 1, sine = 0;
};

struct Sums {
  const float* partial;
  int pieces;
  int64_t m, n, pitch;
  View bias, y;
  Rope rope;
  Indices positions;

  __device__ float total(int64_t row, int64_t column) const {
    float sum = element_of<float>(bias, column);
    for (int piece = 0; piece < pieces; ++piece) sum += partial[(piece * m + row) * pitch + column];
    return sum;
  }
  __device__ void write(int64_t i, float value) const {
    if (y.dtype == DType::F32) static_cast<float*>(y.data)[i] = value;
    else if (y.dtype == DType::F16) static_cast<__half*>(y.data)[i] = __half(value);
    else static_cast<__nv_bfloat16*>(y.data)[i] = __nv_bfloat16(value);
  }
};

__global__ void __launch_bounds__(THREADS) add_and_rotate(const __grid_constant__ Sums p) {
  const int64_t half = p.n / 2, i = int64_t(blockIdx.x) * THREADS + threadIdx.x;
  if (i >= p.m * half) return;
  const int64_t row = i / half;
  const Pair pair = pair_of(p.rope, i % half);
  float a = p.total(row, pair.first), b = p.total(row, pair.second);
  Rotation rotation;
  if (pair.angle >= 0) rotation.load(p.rope.table, p.positions[row], pair.angle);
  rotation.apply(a, b);
  p.write(row * p.n + pair.first, a);
  p.write(row * p.n + pair.second, b);
}

}  // namespace

void add_rotated(const Product& p, const float* partial, int pieces, int64_t pitch) {
  const Sums sums = {partial, pieces, p.m,
                     p.n,     pitch,  p.bias,
                     p.y,     p.rope, Indices(p.rope.positions, p.rope.table.rows(), IndexKind::Position)};
  launch(add_and_rotate, ceil_div(p.m * (p.n / 2), THREADS), THREADS, sums);
}

void rotate_rounded(const Product& p) {
  const Rope& r = p.rope;
  rope(p.y, View{}, p.y, View{}, r.positions, r.table, r.head_dim, r.interleaved, false);
}

}  // namespace lowrank::cuda::gemm
