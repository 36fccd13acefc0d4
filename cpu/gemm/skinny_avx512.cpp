// Products with a thin factor (rank r, few rows, few classes) on AVX-512, straight from row-major memory.
#include "cpu/gemm/avx512.h"

namespace lowrank::cpu::gemm {
namespace {

constexpr int64_t OUTER_ROWS = 16;

// Lane i of the result is the sum of the lanes of r[i].
inline __m512 sums(const __m512 (&r)[16]) {
  __m512 t[8], u[4], v[2];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)
    t[i] = _mm512_add_ps(_mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]), _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512d x = _mm512_castps_pd(t[2 * i]), y = _mm512_castps_pd(t[2 * i + 1]);
    u[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i)
    v[i] = _mm512_add_ps(_mm512_shuffle_f32x4(u[2 * i], u[2 * i + 1], 0x88),
                         _mm512_shuffle_f32x4(u[2 * i], u[2 * i + 1], 0xDD));
  return _mm512_add_ps(_mm512_shuffle_f32x4(v[0], v[1], 0x88), _mm512_shuffle_f32x4(v[0], v[1], 0xDD));
}

template <bool BF16>
inline __m512 load_w(const void* w, int64_t at, __mmask16 m) {
  if constexpr (BF16) return widen(_mm256_maskz_loadu_epi16(m, static_cast<const uint16_t*>(w) + at));
  return _mm512_maskz_loadu_ps(m, static_cast<const float*>(w) + at);
}

// A 4x4 block of y. Past the edge, rows are computed again and not stored.
template <bool MASK, bool BF16>
void dot_block(const Dot& d, int64_t m0, int64_t n0) {
  __m512 acc[16];
  int64_t row[4], w[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    row[i] = m0 + i < d.m ? m0 + i : d.m - 1;
    w[i] = (n0 + i < d.n ? n0 + i : d.n - 1) * d.ldw;
  }
  // The next four rows of x, spread over the blocks that share these.
  const int64_t blocks = d.n > 12 ? 4 : (d.n + 3) / 4;
  const float* ahead[4];
  for (int i = 0; i < 4; ++i) ahead[i] = d.x + (row[i] + (i * blocks / 4 == n0 / 4 ? 4 : 0)) * d.ldx;
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) acc[i] = _mm512_setzero_ps();
  for (int64_t k = 0; k < d.k; k += 16) {
    const __mmask16 m = first(d.k - k);
    __m512 b[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) b[j] = load_w<BF16>(d.w, w[j] + k, m);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      __mmask16 kept = m;
      if constexpr (MASK) kept &= *reinterpret_cast<const uint16_t*>(d.mask + row[i] * d.mask_stride + k / 8);
      const __m512 x = _mm512_maskz_loadu_ps(kept, d.x + row[i] * d.ldx + k);
      _mm_prefetch(reinterpret_cast<const char*>(ahead[i] + k), _MM_HINT_T0);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) acc[4 * i + j] = _mm512_fmadd_ps(x, b[j], acc[4 * i + j]);
    }
  }
  const __mmask8 columns = __mmask8(first(d.n - n0) & 15);
  const __m512 y = _mm512_mul_ps(sums(acc), _mm512_set1_ps(d.scale));
  const __m128 bias = d.bias ? _mm_maskz_loadu_ps(columns, d.bias + n0) : _mm_setzero_ps();
  const __m128 rows[4] = {_mm512_castps512_ps128(y), _mm512_extractf32x4_ps(y, 1), _mm512_extractf32x4_ps(y, 2),
                          _mm512_extractf32x4_ps(y, 3)};
  for (int i = 0; i < 4 && m0 + i < d.m; ++i)
    _mm_mask_storeu_ps(d.y + (m0 + i) * d.ldy + n0, columns, _mm_add_ps(rows[i], bias));
}

constexpr int64_t DOT_ROWS = 4;
#include "cpu/gemm/skinny_dot.inc"

// One row of x, as decoding has it, and 16 columns of y: the sums of dot_block, to the bit.
template <bool BF16>
void dot_row(const Dot& d, int64_t n0) {
  __m512 acc[16];
  int64_t w[16];
#pragma GCC unroll 16
  for (int j = 0; j < 16; ++j) w[j] = (n0 + j < d.n ? n0 + j : d.n - 1) * d.ldw, acc[j] = _mm512_setzero_ps();
  for (int64_t k = 0; k < d.k; k += 16) {
    const __mmask16 m = first(d.k - k);
    const __m512 x = _mm512_maskz_loadu_ps(m, d.x + k);
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) acc[j] = _mm512_fmadd_ps(x, load_w<BF16>(d.w, w[j] + k, m), acc[j]);
  }
  const __mmask16 columns = first(d.n - n0);
  const __m512 y = _mm512_mul_ps(sums(acc), _mm512_set1_ps(d.scale));
  const __m512 bias = d.bias ? _mm512_maskz_loadu_ps(columns, d.bias + n0) : _mm512_setzero_ps();
  _mm512_mask_storeu_ps(d.y + n0, columns, _mm512_add_ps(y, bias));
}

void dot_rows(const Dot& d) {
  if (d.m > 1 || d.mask) return dot(d);
  for (int64_t n = 0; n < d.n; n += 16) d.w_bf16 ? dot_row<true>(d, n) : dot_row<false>(d, n);
}

template <bool MASK, int R>
void outer_block(const Outer& o, int64_t r0, int64_t n0, int64_t begin, int64_t end) {
  const bool accumulate = o.accumulate || begin > 0;
  __m512 acc[R][2];
  const __mmask16 m[2] = {first(o.n - n0), first(o.n - n0 - 16)};
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j)
      acc[i][j] = accumulate ? _mm512_maskz_loadu_ps(m[j], o.p + (r0 + i) * o.ldp + n0 + 16 * j) : _mm512_setzero_ps();
  for (int64_t row = begin; row < end; ++row) {
    const float* s = o.s + row * o.r + r0;
    __m512 x[2];
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      __mmask16 kept = m[j];
      if constexpr (MASK)
        if (kept) kept &= *reinterpret_cast<const uint16_t*>(o.mask + row * o.mask_stride + n0 / 8 + 2 * j);
      const float* at = o.x + row * o.ldx + n0 + 16 * j;
      x[j] = _mm512_maskz_loadu_ps(kept, at);
      if (r0 == 0) _mm_prefetch(reinterpret_cast<const char*>(at + OUTER_ROWS * o.ldx), _MM_HINT_T0);
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      const __m512 v = _mm512_set1_ps(s[i]);
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) acc[i][j] = _mm512_fmadd_ps(v, x[j], acc[i][j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) _mm512_mask_storeu_ps(o.p + (r0 + i) * o.ldp + n0 + 16 * j, m[j], acc[i][j]);
}

// A few rows at a time over all columns, so that x is read in the order it lies in memory.
template <bool MASK>
void outer_all(const Outer& o) {
  for (int64_t row = 0; row < o.rows || row == 0; row += OUTER_ROWS) {
    const int64_t end = row + OUTER_ROWS < o.rows ? row + OUTER_ROWS : o.rows;
    for (int64_t n = 0; n < o.n; n += 32)
      for (int64_t r = 0; r < o.r; r += 8) switch (o.r - r) {
          case 1: outer_block<MASK, 1>(o, r, n, row, end); break;
          case 2: outer_block<MASK, 2>(o, r, n, row, end); break;
          case 3: outer_block<MASK, 3>(o, r, n, row, end); break;
          case 4: outer_block<MASK, 4>(o, r, n, row, end); break;
          case 5: outer_block<MASK, 5>(o, r, n, row, end); break;
          case 6: outer_block<MASK, 6>(o, r, n, row, end); break;
          case 7: outer_block<MASK, 7>(o, r, n, row, end); break;
          default: outer_block<MASK, 8>(o, r, n, row, end);
        }
  }
}

void outer(const Outer& o) { o.mask ? outer_all<true>(o) : outer_all<false>(o); }

// High and low halves of 16 products.
inline void multiply(__m512i x, uint32_t factor, __m512i& high, __m512i& low) {
  const __m512i f = _mm512_set1_epi32(int(factor));
  const __m512i even = _mm512_mul_epu32(x, f), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), f);
  high = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
  low = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
}

// 16 groups at once; as in philox_lanes, the 4 lanes of a 128-bit piece hold the bytes of 16 neighbouring columns.
void dropout_bits(const DropoutKey& key, uint32_t row, int64_t columns, uint8_t* bits) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
  const __m512i keep = _mm512_set1_epi8(char(key.keep));
  for (int64_t block = 0; block * 256 < columns; ++block, bits += 32) {
    __m512i c[4] = {_mm512_add_epi32(lanes, _mm512_set1_epi32(int(block * 16))), _mm512_set1_epi32(int(row)),
                    _mm512_set1_epi32(int(key.site)), _mm512_set1_epi32(int(key.step))};
    uint32_t k0 = key.key0, k1 = key.key1;
#pragma GCC unroll 7
    for (int round = 0; round < 7; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
      __m512i high0, low0, high1, low1;
      multiply(c[0], 0xD2511F53u, high0, low0);
      multiply(c[2], 0xCD9E8D57u, high1, low1);
      c[0] = _mm512_ternarylogic_epi32(high1, c[1], _mm512_set1_epi32(int(k0)), 0x96);
      c[2] = _mm512_ternarylogic_epi32(high0, c[3], _mm512_set1_epi32(int(k1)), 0x96);
      c[1] = low1;
      c[3] = low0;
    }
    uint16_t* out = reinterpret_cast<uint16_t*>(bits);
#pragma GCC unroll 4
    for (int w = 0; w < 4; ++w) {
      const uint64_t kept = _mm512_cmplt_epu8_mask(_mm512_shuffle_epi8(c[w], order), keep);
#pragma GCC unroll 4
      for (int b = 0; b < 4; ++b) out[4 * b + w] = uint16_t(kept >> (16 * b));
    }
  }
}

}  // namespace

const Skinny skinny_avx512 = {dot_rows, outer, dropout_bits};

}  // namespace lowrank::cpu::gemm
