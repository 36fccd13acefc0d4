#pragma once
// The dropout mask of core/kernels.h. `row` is the full row: the caller has added row_offset. Rows are below 2^32.
#include "core/kernels.h"
#include "cpu/philox_lanes.h"

namespace lowrank::cpu {

inline DropoutKey dropout_key(const Dropout& d) {
  return {uint32_t(d.seed), uint32_t(d.seed >> 32), d.site, d.step, uint32_t(d.keep)};
}

// out = the four words of the group of 16 columns.
inline void philox(const Dropout& d, uint64_t row, uint32_t group, uint32_t (&out)[4]) {
  uint32_t c0 = group, c1 = uint32_t(row), c2 = d.site, c3 = d.step;
  uint32_t k0 = uint32_t(d.seed), k1 = uint32_t(d.seed >> 32);
  for (int round = 0; round < 7; ++round) {
    const uint64_t p0 = uint64_t(c0) * 0xD2511F53u;
    const uint64_t p1 = uint64_t(c2) * 0xCD9E8D57u;
    c0 = uint32_t(p1 >> 32) ^ c1 ^ k0;
    c2 = uint32_t(p0 >> 32) ^ c3 ^ k1;
    c1 = uint32_t(p1);
    c3 = uint32_t(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

inline uint8_t dropout_byte(const Dropout& d, uint64_t row, int64_t column) {
  uint32_t words[4];
  philox(d, row, uint32_t(column / 64 * 4 + column % 8 / 2), words);
  const int byte = int(2 * (column % 64 / 8) + column % 2);
  return uint8_t(words[byte / 4] >> (byte % 4 * 8));
}

// out[i] = 0 or d.multiplier(), for columns begin + i < end; 1 everywhere where dropout is off.
inline void dropout_row_multipliers(const Dropout& d, uint64_t row, int64_t begin, int64_t end, float* out) {
  if (!d.active()) {
    for (int64_t c = begin; c < end; ++c) *out++ = 1.0f;
    return;
  }
  const DropoutKey key = dropout_key(d);
  const float multiplier = float(d.multiplier());
  uint8_t bytes[256];
  for (int64_t block = begin / 256; block * 256 < end; ++block) {
    dropout_bytes(key, uint32_t(row), uint32_t(block), bytes);
    const int64_t from = begin > block * 256 ? begin - block * 256 : 0;
    const int64_t to = end < (block + 1) * 256 ? end - block * 256 : 256;
    for (int64_t i = from; i < to; ++i) *out++ = bytes[i] < key.keep ? multiplier : 0.0f;
  }
}

// out = drop(x), one row.
template <typename T>
void drop_row(T* out, const T* x, int64_t cols, const Dropout& dropout, int64_t row) {
  for (int64_t c = 0; c < cols; ++c) {
    const bool kept = !dropout.active() || dropout_byte(dropout, uint64_t(dropout.row_offset + row), c) < dropout.keep;
    out[c] = kept ? T(dropout.multiplier()) * x[c] : T(0);
  }
}

}  // namespace lowrank::cpu
