// The packed products in plain C++, for any machine: 4x8 tiles that the compiler keeps in vector registers.
#include "cpu/gemm/kernel.h"

namespace lowrank::cpu::gemm {
namespace {

constexpr int MR = 4, NR = 8;

inline float value(uint32_t bits) {
  union {
    uint32_t bits;
    float value;
  } u{bits};
  return u.value;
}

inline uint32_t bits(float value) {
  union {
    float value;
    uint32_t bits;
  } u{value};
  return u.bits;
}

inline float round_bf16(float v) {
  const uint32_t b = bits(v);
  return v != v ? v : value((b + 0x7FFF + ((b >> 16) & 1)) & 0xFFFF0000u);
}

inline float load(const Pack& p, int64_t at) {
  if (p.bf16) return value(uint32_t(static_cast<const uint16_t*>(p.src)[at]) << 16) * p.scale;
  const float v = static_cast<const float*>(p.src)[at];
  return p.unit == Unit::Rounded ? round_bf16(v) : v * p.scale;
}

void pack(const Pack& p) {
  float* dst = static_cast<float*>(p.dst);
  for (int64_t k = 0; k < p.depth; ++k, dst += p.width)
    for (int i = 0; i < p.width; ++i) {
      const int64_t at = p.along_k ? i * p.ld + k : k * p.ld + i;
      dst[i] = i < p.count ? load(p, at) : 0;
    }
}

inline void multiply(float (&acc)[MR][NR], const float* a, const float* b, int64_t steps) {
  for (int64_t k = 0; k < steps; ++k, a += MR, b += NR)
    for (int i = 0; i < MR; ++i)
      for (int j = 0; j < NR; ++j) acc[i][j] += a[i] * b[j];
}

void tile(const Tile& t) {
  float acc[MR][NR] = {};
  if (t.slab) multiply(acc, t.slab_a, t.slab_b, t.slab);
  if (t.slab && t.mask)
    for (int i = 0; i < t.rows; ++i)
      for (int j = 0; j < NR; ++j)
        if (!(t.mask[i * t.mask_stride] >> j & 1)) acc[i][j] = 0;
  multiply(acc, static_cast<const float*>(t.a), static_cast<const float*>(t.b), t.units);
  for (int i = 0; i < t.rows; ++i)
    for (int j = 0; j < t.cols; ++j) {
      float* c = t.c + i * t.ldc + j;
      const float sum = t.accumulate ? *c + acc[i][j] : acc[i][j];
      *c = t.bias ? sum + t.bias[j] : sum;
    }
}

}  // namespace

const Kernel kernel_portable = {MR, NR, pack, tile};

}  // namespace lowrank::cpu::gemm
