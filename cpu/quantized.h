#pragma once
// Reading weights that are stored as I8, NF4 or in blocks: core/quantized.h and core/blocks.h have the layouts and the
// formulas.
#include <algorithm>

#include "core/quantized.h"
#include "cpu/vector/rows.h"

namespace lowrank::cpu {

constexpr float NF4_MAP[16] = {LOWRANK_NF4_MAP};
constexpr float DYNAMIC_MAP[256] = {LOWRANK_DYNAMIC_MAP};

// The product is rounded before the sum: exact in f64, it can't become one fused operation.
inline float absmax_of(const Nf4Weight& w, int64_t block) {
  const float scaled = float(double(DYNAMIC_MAP[w.scales[block]]) * double(w.nested[block / NF4_NESTED]));
  return scaled + *w.offset;
}

// Elements [begin, end) of the flattened weight.
inline void dequantize_nf4(const Nf4Weight& w, int64_t begin, int64_t end, float* to) {
  for (int64_t i = begin; i < end;) {
    const int64_t block = i / NF4_BLOCK, stop = std::min(end, (block + 1) * NF4_BLOCK);
    const float absmax = absmax_of(w, block);
    float values[16];
    for (int code = 0; code < 16; ++code) values[code] = NF4_MAP[code] * absmax;
    for (; i < stop; ++i) *to++ = values[w.codes[i / 2] >> (i % 2 ? 0 : 4) & 15];
  }
}

inline void dequantize_int8(const Int8Weight& w, int64_t columns, int64_t begin, int64_t end, float* to) {
  for (int64_t i = begin; i < end;) {
    const int64_t row = i / columns, stop = std::min(end, (row + 1) * columns);
    for (; i < stop; ++i) *to++ = float(w.codes[i]) * w.absmax[row] * INT8_STEP;
  }
}

inline void dequantize(const View& w, int64_t begin, int64_t end, float* to) {
  if (is_blocks(w.dtype)) return row_kernels().decode_blocks(w.dtype, w.as<uint8_t>(), begin, end, to);
  if (w.dtype == DType::NF4) dequantize_nf4(Nf4Weight(w), begin, end, to);
  else dequantize_int8(Int8Weight(w), w.cols(), begin, end, to);
}

}  // namespace lowrank::cpu
