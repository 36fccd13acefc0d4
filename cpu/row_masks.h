#pragma once
#include "cpu/philox.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank::cpu {

// The dropout masks of rows [begin, end) of a matrix with `cols` columns, one bit an element, and space for one row;
// both in the calling thread's scratch slot 6.
struct RowMasks {
  RowMasks(const Dropout& dropout, int64_t begin, int64_t end, int64_t cols)
      : begin(begin), chunks(ceil_div(cols, 64)), multiplier(float(dropout.multiplier())) {
    const int64_t words = (end - begin) * chunks;
    auto* block = static_cast<uint64_t*>(scratch(6, size_t(words) * sizeof(uint64_t) + size_t(cols) * sizeof(float)));
    row = reinterpret_cast<float*>(block + words);
    if (!dropout.active()) return;
    bits = block;
    row_kernels().dropout_bits(dropout_key(dropout), uint32_t(dropout.row_offset + begin), end - begin, 0, chunks,
                               bits);
  }
  RowMask operator[](int64_t row) const { return {bits ? bits + (row - begin) * chunks : nullptr, multiplier}; }

  int64_t begin, chunks;
  float multiplier;
  uint64_t* bits = nullptr;
  float* row;
};

}  // namespace lowrank::cpu
