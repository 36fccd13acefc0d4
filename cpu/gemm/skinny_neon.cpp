// Products with a thin factor (rank r, few rows, few classes) on NEON, straight from row-major memory.
#include "cpu/gemm/neon.h"

namespace lowrank::cpu::gemm {
namespace {

template <bool BF16>
inline float32x4_t load_w(const void* w, int64_t at, int64_t n) {
  if constexpr (BF16) return widen(load_u16(static_cast<const uint16_t*>(w) + at, n));
  return load_f32(static_cast<const float*>(w) + at, n);
}

// acc += the elements of four rows of x from k on, of which n are there, times those of four rows of w.
template <bool MASK, bool BF16>
inline __attribute__((always_inline)) void dot_step(const Dot& d, float32x4_t (&acc)[4][4], const int64_t (&row)[4],
                                                    const int64_t (&w)[4], int64_t k, int64_t n) {
  float32x4_t b[4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) b[j] = load_w<BF16>(d.w, w[j] + k, n);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    float32x4_t x = load_f32(d.x + row[i] * d.ldx + k, n);
    if constexpr (MASK) x = keep(x, d.mask[row[i] * d.mask_stride + k / 8] >> k % 8);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) acc[i][j] = vfmaq_f32(acc[i][j], x, b[j]);
  }
}

// Four rows by four columns of y. Past the edge, rows are computed again and not stored.
template <bool MASK, bool BF16>
void dot_block(const Dot& d, int64_t m0, int64_t n0) {
  float32x4_t acc[4][4];
  int64_t row[4], w[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    row[i] = m0 + i < d.m ? m0 + i : d.m - 1;
    w[i] = (n0 + i < d.n ? n0 + i : d.n - 1) * d.ldw;
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) acc[i][j] = vdupq_n_f32(0);
  }
  int64_t k = 0;
  for (; k + 4 <= d.k; k += 4) dot_step<MASK, BF16>(d, acc, row, w, k, 4);
  if (k < d.k) dot_step<MASK, BF16>(d, acc, row, w, k, d.k - k);
  const float32x4_t bias = d.bias ? load_f32(d.bias + n0, d.n - n0) : vdupq_n_f32(0);
  for (int i = 0; i < 4 && m0 + i < d.m; ++i) {
    const float32x4_t low = vpaddq_f32(acc[i][0], acc[i][1]), high = vpaddq_f32(acc[i][2], acc[i][3]);
    const float32x4_t y = vaddq_f32(vmulq_n_f32(vpaddq_f32(low, high), d.scale), bias);
    store_f32(d.y + (m0 + i) * d.ldy + n0, y, d.n - n0);
  }
}

constexpr int64_t DOT_ROWS = 4;
#include "cpu/gemm/skinny_dot.inc"

// R rows of p by 16 columns, or by what is left of them.
template <bool MASK, int R>
void outer_block(const Outer& o, int64_t r0, int64_t n0) {
  const int64_t left = o.n - n0;
  float32x4_t acc[R][4];
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j)
      acc[i][j] =
          o.accumulate && 4 * j < left ? load_f32(o.p + (r0 + i) * o.ldp + n0 + 4 * j, left - 4 * j) : vdupq_n_f32(0);
  for (int64_t row = 0; row < o.rows; ++row) {
    const float* s = o.s + row * o.r + r0;
    float32x4_t x[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      x[j] = 4 * j < left ? load_f32(o.x + row * o.ldx + n0 + 4 * j, left - 4 * j) : vdupq_n_f32(0);
      if constexpr (MASK)
        if (4 * j < left) x[j] = keep(x[j], o.mask[row * o.mask_stride + n0 / 8 + j / 2] >> 4 * (j % 2));
    }
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) acc[i][j] = vfmaq_n_f32(acc[i][j], x[j], s[i]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j)
      if (4 * j < left) store_f32(o.p + (r0 + i) * o.ldp + n0 + 4 * j, acc[i][j], left - 4 * j);
}

#include "cpu/gemm/skinny_outer.inc"

void dropout_bits(const DropoutKey& key, uint32_t row, int64_t columns, uint8_t* bits) {
  const uint8x8_t bit = {1, 2, 4, 8, 16, 32, 64, 128}, largest = vdup_n_u8(uint8_t(key.keep - 1));
  uint8_t bytes[256];
  for (int64_t block = 0; block * 256 < columns; ++block, bits += 32) {
    dropout_bytes(key, row, uint32_t(block), bytes);
    for (int i = 0; i < 32; ++i) bits[i] = vaddv_u8(vand_u8(vcle_u8(vld1_u8(bytes + 8 * i), largest), bit));
  }
}

}  // namespace

const Skinny skinny_neon = {dot, outer, dropout_bits};

}  // namespace lowrank::cpu::gemm
