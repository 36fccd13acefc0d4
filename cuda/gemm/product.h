#pragma once
// What a matrix product on the GPU is asked to do, whichever kernel does it.

#include <vector>

#include "core/kernels.h"

namespace lowrank::cuda::gemm {

// A matrix of `type` as it lies in memory, `leading` elements from one line to the next. Along k: line i holds the k of
// row i (x of x w^T, w of x w^T). Otherwise line k holds all rows (w of dy w, both operands of dy^T x).
struct Operand {
  const void* data = nullptr;
  int64_t leading = 0;
  bool along_k = true;
};

// One stretch of K: sum over k of a[m, k] b[n, k].
struct Segment {
  int64_t k = 0;
  Operand a, b;
};

// Low rank: sum over j < r of a[m, j] b[n, j], in elements of the product's type; in memory r is rounded up to
// a multiple of 8, with zeros. With dropout on, it is masked by (row m, column n) and multiplied by the multiplier
// before anything is added to it.
struct Slab {
  int64_t r = 0;
  Operand a, b;
  Dropout dropout;
};

constexpr int MAX_SEGMENTS = 3;
// Products that one launch may compute.
constexpr int MAX_PRODUCTS = LoraLayers::MOST;

// y[m, n] = sum of segments + sum of slabs + bias[n] + residual[m, n], accumulated in f32 and rounded once. With `rope`
// its rows are turned at last, before they are rounded where a kernel can (cuda/gemm/rope.cuh), else after. What is
// rounded may go through an activation function (cuda/gemm/bend.cuh), in the epilogue where a kernel can, else after.
struct Product {
  DType type = DType::BF16;  // of segments and slabs: bf16 or f16 on tensor cores; f32, f64
  int64_t m = 0, n = 0;
  int segments = 0, slabs = 0;
  Segment segment[MAX_SEGMENTS];
  Slab slab[MAX_SEGMENTS];
  View bias;            // f32 or type
  View residual;        // [m, n] of y's type
  View y;               // f32 or type, [m, n]
  Rope rope;            // not beside a residual; the table's type is f32 or y's
  Activated activated;  // f(y), [m, n] as y; y itself is written too
  Activated through;    // y is multiplied by f'(data), [m, n] as y
  bool tf32 = false;    // f32 operands on tensor cores, rounded to 10 bits of mantissa; other types ignore it
};

// Picks the kernel: tensor cores for bf16 and f16 (wgmma on Hopper), plain multiply-adds for f32 and f64.
void multiply(const Product& product);
// Of layers on one input: up to MAX_PRODUCTS products that share m and the sizes of K, without masks and residuals. One
// launch where K is not cut, so that their tiles fill the device together; else one after the other.
void multiply(const std::vector<Product>& products);

// The kernels behind it. `can_use_hopper`: whether alignment and shape suit TMA.
bool can_use_hopper(const Product& product);
void multiply_hopper(const std::vector<Product>& products);  // wgmma, sm_90a
void multiply_mma(const Product& product);                   // mma.sync, sm_80 and later
void multiply_simt(const Product& product);                  // f32, f64

}  // namespace lowrank::cuda::gemm
