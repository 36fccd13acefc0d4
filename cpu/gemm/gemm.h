#pragma once
#include "core/kernels.h"
#include "cpu/gemm/kernel.h"

namespace lowrank::cpu::gemm {

// A factor of a product, row-major with row stride ld; along_k: K runs along its rows (x, or w of x w^T).
struct Operand {
  const void* data;
  int64_t ld;
  bool bf16;  // storage; else f32
  bool along_k;
  View quantized = {};  // b alone: a weight stored as I8 or NF4, in place of data
};

// Rows [begin, end) of a Slab whose groups of rows have factors of their own.
struct SlabGroup {
  int64_t begin, end;
  int64_t first, r;    // its steps of the slab's r
  const float *a, *b;  // a [end - begin, r]; b as the slab's, of r alone
  float scale = 1;
};

// mask(scale * a b), added to a product in its accumulators: r more steps of K, always in f32.
struct Slab {
  int64_t r = 0;
  const float* a = nullptr;  // [m, r]
  float scale = 1;
  const float* b = nullptr;  // b_along_r: [n, r], else [r, n]
  bool b_along_r = false;
  const uint8_t* mask = nullptr;  // bits of [m][mask_stride bytes], or null
  int64_t mask_stride = 0;
  // In place of a and b: groups of all rows in order, whose r add up to the slab's. Each row takes its own.
  const SlabGroup* groups = nullptr;
  int64_t count = 0;
};

// c[m, n] = a b + slab + bias
struct Product {
  int64_t m, n, k;
  Operand a, b;
  float* c;
  const float* bias = nullptr;  // [n]
  Compute compute = Compute::F32;
  Slab slab = {};
};

void multiply(const Product& product);
// Whether multiply() reads the weight as it is stored; a slab with groups it always packs.
bool takes_few_rows(const Product& product);

const Skinny& skinny();
// Dot and Outer are whole when n or r is any size; this one cuts a Dot into pieces for all threads.
void parallel_dot(const Dot& dot);

inline Operand operand(const View& view, bool along_k) {
  if (is_quantized(view.dtype)) return {nullptr, view.cols(), false, along_k, view};
  return {view.data, view.cols(), view.dtype == DType::BF16, along_k};
}

}  // namespace lowrank::cpu::gemm
