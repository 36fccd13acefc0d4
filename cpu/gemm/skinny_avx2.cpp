// Products with a thin factor (rank r, few rows, few classes) on AVX2, straight from row-major memory.
#include "cpu/gemm/avx2.h"

namespace lowrank::cpu::gemm {
namespace {

// The sums of the lanes of four vectors.
inline __m128 sums(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256 t = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  return _mm_add_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1));
}

template <bool BF16>
inline __m256 load_w(const void* w, int64_t at, int64_t n) {
  if constexpr (BF16) return load_bf16(static_cast<const uint16_t*>(w) + at, n);
  return load_f32(static_cast<const float*>(w) + at, n);
}

// Two rows by four columns of y. Past the edge, rows are computed again and not stored.
template <bool MASK, bool BF16>
void dot_block(const Dot& d, int64_t m0, int64_t n0) {
  __m256 acc[2][4];
  int64_t row[2], w[4];
  for (int i = 0; i < 2; ++i) row[i] = m0 + i < d.m ? m0 + i : d.m - 1;
  for (int j = 0; j < 4; ++j) w[j] = (n0 + j < d.n ? n0 + j : d.n - 1) * d.ldw;
  for (int i = 0; i < 8; ++i) acc[i / 4][i % 4] = _mm256_setzero_ps();
  for (int64_t k = 0; k < d.k; k += 8) {
    const int64_t n = d.k - k;
    __m256 b[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) b[j] = load_w<BF16>(d.w, w[j] + k, n);
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      __m256 x = load_f32(d.x + row[i] * d.ldx + k, n);
      if constexpr (MASK) x = keep(x, d.mask[row[i] * d.mask_stride + k / 8]);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) acc[i][j] = _mm256_fmadd_ps(x, b[j], acc[i][j]);
    }
  }
  const __m128i columns = _mm256_castsi256_si128(first(d.n - n0));
  const __m128 bias = d.bias ? _mm_maskload_ps(d.bias + n0, columns) : _mm_setzero_ps();
  for (int i = 0; i < 2 && m0 + i < d.m; ++i) {
    const __m128 y = _mm_mul_ps(sums(acc[i][0], acc[i][1], acc[i][2], acc[i][3]), _mm_set1_ps(d.scale));
    _mm_maskstore_ps(d.y + (m0 + i) * d.ldy + n0, columns, _mm_add_ps(y, bias));
  }
}

constexpr int64_t DOT_ROWS = 2;
#include "cpu/gemm/skinny_dot.inc"

template <bool MASK, int R>
void outer_block(const Outer& o, int64_t r0, int64_t n0) {
  __m256 acc[R][2];
  const __m256i m[2] = {first(o.n - n0), first(o.n - n0 - 8)};
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j)
      acc[i][j] = o.accumulate ? _mm256_maskload_ps(o.p + (r0 + i) * o.ldp + n0 + 8 * j, m[j]) : _mm256_setzero_ps();
  for (int64_t row = 0; row < o.rows; ++row) {
    const float* s = o.s + row * o.r + r0;
    __m256 x[2];
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      x[j] = _mm256_maskload_ps(o.x + row * o.ldx + n0 + 8 * j, m[j]);
      if constexpr (MASK)
        if (n0 + 8 * j < o.n) x[j] = keep(x[j], o.mask[row * o.mask_stride + n0 / 8 + j]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
      const __m256 v = _mm256_broadcast_ss(s + i);
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) acc[i][j] = _mm256_fmadd_ps(v, x[j], acc[i][j]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) _mm256_maskstore_ps(o.p + (r0 + i) * o.ldp + n0 + 8 * j, m[j], acc[i][j]);
}

#include "cpu/gemm/skinny_outer.inc"

void dropout_bits(const DropoutKey& key, uint32_t row, int64_t columns, uint8_t* bits) {
  uint8_t bytes[256];
  const __m256i limit =
      _mm256_set1_epi8(char(key.keep - 1));  // byte < keep is byte <= keep - 1 is min(byte, that) == byte
  for (int64_t block = 0; block * 256 < columns; ++block, bits += 32) {
    dropout_bytes(key, row, uint32_t(block), bytes);
    for (int i = 0; i < 8; ++i) {
      const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + 32 * i));
      const uint32_t kept = uint32_t(_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(v, limit), v)));
      for (int b = 0; b < 4; ++b) bits[4 * i + b] = uint8_t(kept >> (8 * b));
    }
  }
}

}  // namespace

const Skinny skinny_avx2 = {dot, outer, dropout_bits};

}  // namespace lowrank::cpu::gemm
