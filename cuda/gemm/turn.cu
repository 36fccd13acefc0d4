// Products whose rows are turned (Product::rope) outside of a tile's epilogue: see turn.cuh.
//
// add_turned: one pair of columns a thread; neighbouring threads have neighbouring pairs. f32. One pass over the
// partial sums, which L2 mostly still has; bound by reading them.

#include "cuda/gemm/turn.cuh"

namespace lowrank::cuda::gemm {
namespace {

constexpr int THREADS = 256;

struct Sums {
  const float* partial;
  int pieces;
  int64_t m, n, pitch;
  View bias, y;
  Rope rope;

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

__global__ void __launch_bounds__(THREADS) add_and_turn(const __grid_constant__ Sums p) {
  const int64_t half = p.n / 2, i = int64_t(blockIdx.x) * THREADS + threadIdx.x;
  if (i >= p.m * half) return;
  const int64_t row = i / half;
  const Pair pair = pair_of(p.rope, i % half);
  float a = p.total(row, pair.first), b = p.total(row, pair.second);
  Turn<float> turn;
  if (pair.angle >= 0) turn.load(p.rope, row, pair.angle);
  turn.apply(a, b);
  p.write(row * p.n + pair.first, a);
  p.write(row * p.n + pair.second, b);
}

}  // namespace

void add_turned(const Product& p, const float* partial, int pieces, int64_t pitch) {
  const Sums sums = {partial, pieces, p.m, p.n, pitch, p.bias, p.y, p.rope};
  launch(add_and_turn, ceil_div(p.m * (p.n / 2), THREADS), THREADS, sums);
}

void turn_rounded(const Product& p) {
  const Rope& r = p.rope;
  rope(p.y, View{}, p.y, View{}, r.positions, r.table, r.head_dim, r.interleaved, false);
}

}  // namespace lowrank::cuda::gemm
