// bf16 products with f32 accumulation: bfmmla multiplies 2x4 by 4x2 elements. So four steps of K of a row lie beside
// each other in a panel, [units / 2][width][4], and an odd unit at its end is [width][2]. Slabs stay f32.
#include "cpu/gemm/neon.h"

namespace lowrank::cpu::gemm {
namespace {

// n <= 4 neighbouring elements as bf16, the others 0.
inline uint16x4_t load_bf16(const Pack& p, int64_t at, int64_t n) {
  if (p.bf16) return load_u16(static_cast<const uint16_t*>(p.src) + at, n);
  return vreinterpret_u16_bf16(vcvt_bf16_f32(load_f32(static_cast<const float*>(p.src) + at, n)));
}

// Row i of the elements from step k on; `half`: two steps, not four.
inline void store_row(uint16_t* dst, int i, uint16x4_t v, bool half) {
  if (half) vst1_lane_u32(reinterpret_cast<uint32_t*>(dst + 2 * i), vreinterpret_u32_u16(v), 0);
  else vst1_u16(dst + 4 * i, v);
}

void pack_along_k(const Pack& p, uint16_t* dst) {
  for (int64_t k = 0; k < p.depth; k += 4, dst += 4 * p.width) {
    const int64_t steps = p.depth - k;
    for (int i = 0; i < p.width; ++i)
      store_row(dst, i, i < p.count ? load_bf16(p, i * p.ld + k, steps) : vdup_n_u16(0), steps <= 2);
  }
}

void pack_across(const Pack& p, uint16_t* dst) {
  for (int64_t k = 0; k < p.depth; k += 4, dst += 4 * p.width) {
    const int64_t steps = p.depth - k;
    for (int g = 0; g < p.width; g += 4) {
      uint16x4x4_t r;
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i)
        r.val[i] = i < steps && g < p.count ? load_bf16(p, (k + i) * p.ld + g, p.count - g) : vdup_n_u16(0);
      if (steps > 2) {
        vst4_u16(dst + 4 * g, r);
        continue;
      }
      const uint16x4x2_t pairs = {{r.val[0], r.val[1]}};
      vst2_u16(dst + 2 * g, pairs);
    }
  }
}

void pack(const Pack& p) {
  if (p.unit == Unit::F32) return p.bf16 ? pack_typed<true, Unit::F32>(p) : pack_typed<false, Unit::F32>(p);
  auto* dst = static_cast<uint16_t*>(p.dst);
  p.along_k ? pack_along_k(p, dst) : pack_across(p, dst);
}

inline bfloat16x8_t load_pair(const uint16_t* panel) { return vreinterpretq_bf16_u16(vld1q_u16(panel)); }

// Two rows of two steps each, with zeros for the others.
inline bfloat16x8_t load_half_pair(const uint16_t* panel) {
  const uint32x2_t rows = vreinterpret_u32_u16(vld1_u16(panel));
  return vreinterpretq_bf16_u64(vmovl_u32(rows));
}

// acc[i][j]: rows 2i and 2i + 1 of columns 2j and 2j + 1.
template <int R, typename Load>
inline __attribute__((always_inline)) void multiply_step(float32x4_t (&acc)[R / 2][4], const uint16_t* a,
                                                         const uint16_t* b, int64_t row, Load load) {
  bfloat16x8_t w[4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) w[j] = load(b + 2 * j * row);
#pragma GCC unroll 6
  for (int i = 0; i < R / 2; ++i) {
    const bfloat16x8_t x = load(a + 2 * i * row);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) acc[i][j] = vbfmmlaq_f32(acc[i][j], x, w[j]);
  }
}

template <int R>
void tile_of(const Tile& t) {
  float32x4_t rows[R][2];
  add_slab<R>(t, rows);
  float32x4_t acc[R / 2][4];
#pragma GCC unroll 6
  for (int i = 0; i < R / 2; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const float64x2_t up = vreinterpretq_f64_f32(rows[2 * i][j]), down = vreinterpretq_f64_f32(rows[2 * i + 1][j]);
      acc[i][2 * j] = vreinterpretq_f32_f64(vzip1q_f64(up, down));
      acc[i][2 * j + 1] = vreinterpretq_f32_f64(vzip2q_f64(up, down));
    }
  const auto *a = static_cast<const uint16_t*>(t.a), *b = static_cast<const uint16_t*>(t.b);
  for (int64_t k = 0; k + 2 <= t.units; k += 2, a += 4 * MR, b += 4 * NR) multiply_step<R>(acc, a, b, 4, load_pair);
  if (t.units % 2) multiply_step<R>(acc, a, b, 2, load_half_pair);
#pragma GCC unroll 6
  for (int i = 0; i < R / 2; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const float64x2_t left = vreinterpretq_f64_f32(acc[i][2 * j]), right = vreinterpretq_f64_f32(acc[i][2 * j + 1]);
      rows[2 * i][j] = vreinterpretq_f32_f64(vzip1q_f64(left, right));
      rows[2 * i + 1][j] = vreinterpretq_f32_f64(vzip2q_f64(left, right));
    }
  store<R>(t, rows);
}

void tile(const Tile& t) { t.rows > 8 ? tile_of<12>(t) : t.rows > 4 ? tile_of<8>(t) : tile_of<4>(t); }

}  // namespace

const Kernel kernel_neonbf16 = {MR, NR, pack, tile};

}  // namespace lowrank::cpu::gemm
