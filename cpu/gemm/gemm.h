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
  int64_t r;
  const float *a, *b;  // a [end - begin, r]; b as the slab's, of r alone
  float scale = 1;
};

// mask(scale * a b), added to a product in its accumulators: r more steps of K, in f32 or, on tiles, in two parts of
// bf16.
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

// What is to be done with rows [row, row + count) before they are packed: BEFORE_ROWS at a time, in order within each
// block of `rows` rows (a multiple of BEFORE_ROWS), by one thread.
constexpr int64_t BEFORE_ROWS = 64;
struct Before {
  int64_t rows = 0;
  void* context = nullptr;
  // packed: not null, then the rows of a are to be packed there, all of K, as the kernel does it.
  void (*run)(void* context, int64_t row, int64_t count, void* packed) = nullptr;
  // What comes before all blocks, by one thread: beside the packing of b.
  void (*begin)(void* context) = nullptr;
};

// c[m, n] = a b + slab + bias
struct Product {
  int64_t m, n, k;
  Operand a, b;
  float* c;                     // or null, and the result is rounded
  const float* bias = nullptr;  // [n]
  Compute compute = Compute::F32;
  Slab slab = {};
  Before before = {};                  // where thin_on_tiles(), of a product that takes_few_rows() does not take
  uint16_t* rounded = nullptr;         // c as bf16, in its place
  const uint16_t* residual = nullptr;  // beside it: [m, n], added before the sum is rounded; may be `rounded`
};

void multiply(const Product& product);
// Without a product.
void run(const Before& before, int64_t rows);
// y, f32 or bf16, as what a product writes.
inline void write_to(Product& p, const View& y) {
  if (y.dtype == DType::BF16) p.c = nullptr, p.rounded = y.as<uint16_t>();
  else p.c = y.as<float>();
}
constexpr int64_t FEW_ROWS = 16;
// Whether multiply() reads the weight as it is stored, of up to so many rows; a slab with groups it always packs.
bool takes_few_rows(const Product& product);
void multiply_few_rows(const Product& product);
// Somewhat more rows than few, few columns, or a^T b of narrow a, in f32: nothing is packed. False: not such a product.
bool multiply_thin(const Product& product);

// The thin products of factors on tiles, or null where the instruction set has none or `compute` isn't bf16.
const SplitThin* thin_on_tiles(Compute compute);
const Skinny& skinny();
// Dot and Outer are whole when n or r is any size; this one cuts a Dot into pieces for all threads.
void parallel_dot(const Dot& dot);

inline Operand operand(const View& view, bool along_k) {
  if (is_quantized(view.dtype)) return {nullptr, view.cols(), false, along_k, view};
  return {view.data, view.cols(), view.dtype == DType::BF16, along_k};
}

}  // namespace lowrank::cpu::gemm
