#pragma once
// Packing and the 12x8 tile for NEON, shared by the f32 and the bf16 object. Internal linkage, no standard headers.
#include <arm_neon.h>

#include "cpu/gemm/kernel.h"

namespace lowrank::cpu::gemm {
namespace {

constexpr int MR = 12, NR = 8;

inline float32x4_t widen(uint16x4_t bf16) { return vreinterpretq_f32_u32(vshll_n_u16(bf16, 16)); }

// n <= 4 elements, the others 0; nothing is read past them.
[[maybe_unused]] inline uint16x4_t load_u16(const uint16_t* src, int64_t n) {
  if (n >= 4) return vld1_u16(src);
  uint16_t part[4] = {};
  for (int64_t i = 0; i < n; ++i) part[i] = src[i];
  return vld1_u16(part);
}

[[maybe_unused]] inline float32x4_t load_f32(const float* src, int64_t n) {
  if (n >= 4) return vld1q_f32(src);
  float part[4] = {};
  for (int64_t i = 0; i < n; ++i) part[i] = src[i];
  return vld1q_f32(part);
}

[[maybe_unused]] inline void store_f32(float* dst, float32x4_t v, int64_t n) {
  if (n >= 4) return vst1q_f32(dst, v);
  float part[4];
  vst1q_f32(part, v);
  for (int64_t i = 0; i < n; ++i) dst[i] = part[i];
}

// Lanes whose bit, of the lowest four, is set.
[[maybe_unused]] inline float32x4_t keep(float32x4_t v, uint32_t bits) {
  const uint32x4_t lane_bits = {1, 2, 4, 8};
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), vtstq_u32(vdupq_n_u32(bits), lane_bits)));
}

// Nearest, ties to even; NaN stays NaN.
inline float32x4_t round_bf16(float32x4_t v) {
  const uint32x4_t bits = vreinterpretq_u32_f32(v);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t sum = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF)));
  return vbslq_f32(vceqq_f32(v, v), vreinterpretq_f32_u32(vandq_u32(sum, vdupq_n_u32(0xFFFF0000))), v);
}

// n <= 4 neighbouring elements as units.
template <bool BF16, Unit UNIT>
inline float32x4_t load_units(const Pack& p, int64_t at, int64_t n) {
  float32x4_t v;
  if constexpr (BF16) v = widen(load_u16(static_cast<const uint16_t*>(p.src) + at, n));
  else v = load_f32(static_cast<const float*>(p.src) + at, n);
  if constexpr (UNIT == Unit::F32) return vmulq_n_f32(v, p.scale);
  return BF16 ? v : round_bf16(v);
}

inline void transpose(float32x4_t (&r)[4]) {
  const float32x4_t a = vzip1q_f32(r[0], r[2]), b = vzip2q_f32(r[0], r[2]);
  const float32x4_t c = vzip1q_f32(r[1], r[3]), d = vzip2q_f32(r[1], r[3]);
  r[0] = vzip1q_f32(a, c), r[1] = vzip2q_f32(a, c), r[2] = vzip1q_f32(b, d), r[3] = vzip2q_f32(b, d);
}

template <bool BF16, Unit UNIT, int WIDTH>
void pack_along_k(const Pack& p) {
  float* dst = static_cast<float*>(p.dst);
  for (int64_t k = 0; k < p.depth; k += 4, dst += 4 * WIDTH) {
    const int64_t steps = p.depth - k < 4 ? p.depth - k : 4;
#pragma GCC unroll 3
    for (int g = 0; g < WIDTH; g += 4) {
      float32x4_t r[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i)
        r[i] = g + i < p.count ? load_units<BF16, UNIT>(p, (g + i) * p.ld + k, steps) : vdupq_n_f32(0);
      transpose(r);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i)
        if (i < steps) vst1q_f32(dst + i * WIDTH + g, r[i]);
    }
  }
}

template <bool BF16, Unit UNIT, int WIDTH>
void pack_across(const Pack& p) {
  float* dst = static_cast<float*>(p.dst);
  for (int64_t k = 0; k < p.depth; ++k, dst += WIDTH)
#pragma GCC unroll 3
    for (int g = 0; g < WIDTH; g += 4) {
      float32x4_t v = vdupq_n_f32(0);
      if (g < p.count) v = load_units<BF16, UNIT>(p, k * p.ld + g, p.count - g);
      vst1q_f32(dst + g, v);
    }
}

template <bool BF16, Unit UNIT>
void pack_typed(const Pack& p) {
  if (p.width == MR) return p.along_k ? pack_along_k<BF16, UNIT, MR>(p) : pack_across<BF16, UNIT, MR>(p);
  p.along_k ? pack_along_k<BF16, UNIT, NR>(p) : pack_across<BF16, UNIT, NR>(p);
}

// acc += lane LANE of a times b
template <int LANE>
inline void add_row(float32x4_t (&acc)[2], float32x4_t a, const float32x4_t (&b)[2]) {
  acc[0] = vfmaq_laneq_f32(acc[0], b[0], a, LANE);
  acc[1] = vfmaq_laneq_f32(acc[1], b[1], a, LANE);
}

// The first R rows of a panel of a, a multiple of 4.
template <int R>
inline __attribute__((always_inline)) void multiply_f32(float32x4_t (&acc)[R][2], const float* a, const float* b,
                                                        int64_t steps) {
  for (int64_t k = 0; k < steps; ++k, a += MR, b += NR) {
    const float32x4_t w[2] = {vld1q_f32(b), vld1q_f32(b + 4)};
#pragma GCC unroll 3
    for (int g = 0; g < R; g += 4) {
      const float32x4_t x = vld1q_f32(a + g);
      add_row<0>(acc[g], x, w), add_row<1>(acc[g + 1], x, w);
      add_row<2>(acc[g + 2], x, w), add_row<3>(acc[g + 3], x, w);
    }
  }
}

template <int R>
inline __attribute__((always_inline)) void add_slab(const Tile& t, float32x4_t (&acc)[R][2]) {
#pragma GCC unroll 12
  for (int i = 0; i < R; ++i) acc[i][0] = acc[i][1] = vdupq_n_f32(0);
  if (!t.slab) return;
  multiply_f32<R>(acc, t.slab_a, t.slab_b, t.slab);
  if (!t.mask) return;
#pragma GCC unroll 12
  for (int i = 0; i < R; ++i)
    if (i < t.rows) {
      const uint32_t bits = t.mask[i * t.mask_stride];
      acc[i][0] = keep(acc[i][0], bits), acc[i][1] = keep(acc[i][1], bits >> 4);
    }
}

template <int R>
inline void store(const Tile& t, const float32x4_t (&acc)[R][2]) {
#pragma GCC unroll 12
  for (int i = 0; i < R; ++i)
    if (i < t.rows)
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        float* c = t.c + i * t.ldc + 4 * j;
        const int64_t n = t.cols - 4 * j;
        float32x4_t v = acc[i][j];
        if (t.accumulate) v = vaddq_f32(v, load_f32(c, n));
        if (t.bias) v = vaddq_f32(v, load_f32(t.bias + 4 * j, n));
        store_f32(c, v, n);
      }
}

}  // namespace
}  // namespace lowrank::cpu::gemm
