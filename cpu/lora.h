#pragma once
// The thin products of low-rank factors on the CPU, at f32 accuracy: of a whole layer, or of a group of its rows.

#include "core/kernels.h"
#include "cpu/gemm/gemm.h"

namespace lowrank::cpu::lora {

// Scratch; gemm.cpp has 0, 1 and 6.
constexpr int ROW_SCRATCH = 2, MASK = 3, TRANSPOSED = 4, PARTIAL = 5, PARTS = 7;

// Bytes of the bits of a mask's row.
inline int64_t mask_stride(int64_t columns) { return (columns + 255) / 256 * 32; }

// s = scale * drop(x) a^T, and then the product that reads x, in one pass over it where thin products run on tiles.
void project(const View& s, const View& x, const View& a, double scale, const Dropout& dropout, Compute compute,
             gemm::Product* product = nullptr);

// What backward makes of rows that have the same factors, in one pass over dy and one over x.
struct Rows {
  View da, db, dy, x, a, b, s;
  double scale;
  Dropout dropout;
  Compute compute;
  float* t;       // [rows, r], written: scale * dy b; null where neither da nor dx is wanted
  uint8_t* mask;  // [rows][mask_stride], written: of x; null without dropout
};
// And the product that reads dy, as above.
void differentiate(const Rows& rows, gemm::Product* product = nullptr);

}  // namespace lowrank::cpu::lora
