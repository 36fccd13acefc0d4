// Products with a thin factor in plain C++, for any machine.
#include "cpu/gemm/kernel.h"

namespace lowrank::cpu::gemm {
namespace {

constexpr int LANES = 8;

inline bool bit(const uint8_t* mask, int64_t i) { return mask[i / 8] >> (i % 8) & 1; }

inline float load_w(const Dot& d, int64_t at) {
  if (!d.w_bf16) return static_cast<const float*>(d.w)[at];
  union {
    uint32_t bits;
    float value;
  } u{uint32_t(static_cast<const uint16_t*>(d.w)[at]) << 16};
  return u.value;
}

// Sums in LANES places, so that the compiler may use vectors.
inline float dot_one(const Dot& d, int64_t m, int64_t n) {
  const float* x = d.x + m * d.ldx;
  const uint8_t* mask = d.mask ? d.mask + m * d.mask_stride : nullptr;
  float acc[LANES] = {};
  int64_t k = 0;
  for (; k + LANES <= d.k; k += LANES)
    for (int l = 0; l < LANES; ++l) {
      const float v = !mask || bit(mask, k + l) ? x[k + l] : 0;
      acc[l] += v * load_w(d, n * d.ldw + k + l);
    }
  for (; k < d.k; ++k) acc[0] += (!mask || bit(mask, k) ? x[k] : 0) * load_w(d, n * d.ldw + k);
  float sum = 0;
  for (float lane : acc) sum += lane;
  return sum;
}

void dot(const Dot& d) {
  for (int64_t m = 0; m < d.m; ++m)
    for (int64_t n = 0; n < d.n; ++n) {
      const float y = dot_one(d, m, n) * d.scale;
      d.y[m * d.ldy + n] = d.bias ? y + d.bias[n] : y;
    }
}

void outer(const Outer& o) {
  if (!o.accumulate)
    for (int64_t r = 0; r < o.r; ++r)
      for (int64_t n = 0; n < o.n; ++n) o.p[r * o.ldp + n] = 0;
  for (int64_t row = 0; row < o.rows; ++row)
    for (int64_t r = 0; r < o.r; ++r) {
      const float s = o.s[row * o.r + r];
      const float* x = o.x + row * o.ldx;
      const uint8_t* mask = o.mask ? o.mask + row * o.mask_stride : nullptr;
      float* p = o.p + r * o.ldp;
      if (mask)
        for (int64_t n = 0; n < o.n; ++n) p[n] += bit(mask, n) ? s * x[n] : 0;
      else
        for (int64_t n = 0; n < o.n; ++n) p[n] += s * x[n];
    }
}

void dropout_bits(const DropoutKey& key, uint32_t row, int64_t columns, uint8_t* bits) {
  uint8_t bytes[256];
  for (int64_t block = 0; block * 256 < columns; ++block, bits += 32) {
    dropout_bytes(key, row, uint32_t(block), bytes);
    for (int i = 0; i < 32; ++i) {
      uint32_t packed = 0;
      for (int j = 0; j < 8; ++j) packed |= uint32_t(bytes[8 * i + j] < key.keep) << j;
      bits[i] = uint8_t(packed);
    }
  }
}

}  // namespace

const Skinny skinny_portable = {dot, outer, dropout_bits};

}  // namespace lowrank::cpu::gemm
