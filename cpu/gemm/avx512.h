#pragma once
// Packing and the 14x32 tile for AVX-512, shared by the f32 and the bf16 object. Internal linkage, no standard headers.
#ifndef __clang__
// g++ 12 takes the undefined pass-through operand inside its own intrinsics for a mistake of ours.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "cpu/gemm/kernel.h"

namespace lowrank::cpu::gemm {
namespace {

constexpr int MR = 14, NR = 32;

inline __mmask16 first(int64_t n) {
  return n >= 16 ? __mmask16(0xFFFF) : n <= 0 ? __mmask16(0) : __mmask16((1u << n) - 1);
}

inline __m512 widen(__m256i bf16) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16)); }

// Nearest, ties to even; NaN stays NaN.
inline __m512 round_bf16(__m512 v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i sum = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
  const __m512i rounded = _mm512_and_si512(sum, _mm512_set1_epi32(int(0xFFFF0000)));
  return _mm512_mask_mov_ps(_mm512_castsi512_ps(rounded), _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), v);
}

inline __m512 load_f32(const Pack& p, int64_t at, __mmask16 m) {
  return _mm512_maskz_loadu_ps(m, static_cast<const float*>(p.src) + at);
}
inline __m256i load_bf16(const Pack& p, int64_t at, __mmask16 m) {
  return _mm256_maskz_loadu_epi16(m, static_cast<const uint16_t*>(p.src) + at);
}

// 16 f32 units from 16 neighbouring elements.
template <bool BF16, Unit UNIT>
inline __m512 load_elements(const Pack& p, int64_t at, __mmask16 m) {
  if constexpr (BF16) {
    const __m512 v = widen(load_bf16(p, at, m));
    return UNIT == Unit::F32 ? _mm512_mul_ps(v, _mm512_set1_ps(p.scale)) : v;
  } else {
    const __m512 v = load_f32(p, at, m);
    return UNIT == Unit::F32 ? _mm512_mul_ps(v, _mm512_set1_ps(p.scale)) : round_bf16(v);
  }
}

// 16 units from neighbouring elements of K, of which n are there.
template <bool BF16, Unit UNIT>
inline __m512 load_along_k(const Pack& p, int64_t at, int64_t n) {
  if constexpr (UNIT != Unit::Pairs) {
    return load_elements<BF16, UNIT>(p, at, first(n));
  } else if constexpr (BF16) {
    const __mmask32 m = n >= 32 ? ~0u : (1u << n) - 1;
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(m, static_cast<const uint16_t*>(p.src) + at));
  } else {
#ifdef __AVX512BF16__
    const __m512 low = load_f32(p, at, first(n)), high = load_f32(p, n > 16 ? at + 16 : at, first(n - 16));
    return _mm512_castsi512_ps((__m512i)_mm512_cvtne2ps_pbh(high, low));
#else
    return _mm512_setzero_ps();
#endif
  }
}

// 16 units at one step of K, from elements that lie beside each other; `two`: the second element of a pair is there.
template <bool BF16, Unit UNIT>
inline __m512 load_across(const Pack& p, int64_t at, bool two, __mmask16 m) {
  if constexpr (UNIT != Unit::Pairs) {
    return load_elements<BF16, UNIT>(p, at, m);
  } else {
    __m256i low, high;
    const __mmask16 m2 = two ? m : __mmask16(0);
    const int64_t at2 = two ? at + p.ld : at;
    if constexpr (BF16) {
      low = load_bf16(p, at, m), high = load_bf16(p, at2, m2);
    } else {
#ifdef __AVX512BF16__
      low = (__m256i)_mm512_cvtneps_pbh(load_f32(p, at, m)), high = (__m256i)_mm512_cvtneps_pbh(load_f32(p, at2, m2));
#else
      low = high = _mm256_setzero_si256();
#endif
    }
    const __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16);
    return _mm512_castsi512_ps(_mm512_or_si512(wide, _mm512_cvtepu16_epi32(low)));
  }
}

inline void transpose(__m512 (&r)[16]) {
  __m512 t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m512d x = _mm512_castps_pd(t[i + j]), y = _mm512_castps_pd(t[i + j + 2]);
      r[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
      r[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
    }
  }
  // r[i + j], lane l: rows i..i+3 of column 4 l + j.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512 a = _mm512_shuffle_f32x4(r[j], r[4 + j], 0x88), b = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0x88);
    const __m512 c = _mm512_shuffle_f32x4(r[j], r[4 + j], 0xDD), d = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0xDD);
    t[j] = _mm512_shuffle_f32x4(a, b, 0x88);
    t[8 + j] = _mm512_shuffle_f32x4(a, b, 0xDD);
    t[4 + j] = _mm512_shuffle_f32x4(c, d, 0x88);
    t[12 + j] = _mm512_shuffle_f32x4(c, d, 0xDD);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = t[i];
}

inline void prefetch(const Pack& p, int64_t at) {
  _mm_prefetch(static_cast<const char*>(p.src) + at * (p.bf16 ? 2 : 4), _MM_HINT_T0);
}

template <bool BF16, Unit UNIT, int WIDTH>
void pack_along_k(const Pack& p) {
  constexpr int STEP = UNIT == Unit::Pairs ? 32 : 16;
  constexpr int SPAN = WIDTH > 32 ? 256 : STEP;  // 64 rows at a time are more streams than processors follow
  for (int64_t begin = 0; begin < p.depth; begin += SPAN)
    for (int g = 0; g < WIDTH; g += 16)
      for (int64_t k = begin; k < p.depth && k < begin + SPAN; k += STEP) {
        float* dst = static_cast<float*>(p.dst) + k / STEP * 16 * WIDTH + g;
        const int64_t left = p.depth - k;
        const int64_t units = UNIT == Unit::Pairs ? (left + 1) / 2 : left;
        __m512 r[16];
        const int64_t ahead = k + 4 * STEP;  // many short streams: the processor's own prefetcher comes late
        for (int i = g; i < p.count && i < g + 16; ++i) {
          prefetch(p, i * p.ld + ahead);
          if (STEP == 32 && !BF16) prefetch(p, i * p.ld + ahead + 16);
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i)
          r[i] = g + i < p.count ? load_along_k<BF16, UNIT>(p, (g + i) * p.ld + k, left) : _mm512_setzero_ps();
        transpose(r);
        const __mmask16 m = first(WIDTH - g);
        if (units >= 16) {
#pragma GCC unroll 16
          for (int i = 0; i < 16; ++i) _mm512_mask_storeu_ps(dst + i * WIDTH, m, r[i]);
        } else {
#pragma GCC unroll 16
          for (int i = 0; i < 16; ++i)
            if (i < units) _mm512_mask_storeu_ps(dst + i * WIDTH, m, r[i]);
        }
      }
}

template <bool BF16, Unit UNIT, int WIDTH>
void pack_across(const Pack& p) {
  constexpr int STEP = UNIT == Unit::Pairs ? 2 : 1;
  float* dst = static_cast<float*>(p.dst);
  for (int64_t k = 0; k < p.depth; k += STEP, dst += WIDTH) {
#pragma GCC unroll 2
    for (int g = 0; g < WIDTH; g += 16) {
      prefetch(p, (k + 16 * STEP) * p.ld + g);
      if (STEP == 2) prefetch(p, (k + 16 * STEP + 1) * p.ld + g);
      const __m512 v =
          load_across<BF16, UNIT>(p, k * p.ld + (g < p.count ? g : 0), k + 1 < p.depth, first(p.count - g));
      _mm512_mask_storeu_ps(dst + g, first(WIDTH - g), v);
    }
  }
}

// f32 of at most 8 columns: stores of half a vector cross the end of a line half as often.
template <int WIDTH>
void pack_narrow(const Pack& p) {
  static_assert(WIDTH <= 8, "half a vector");
  const __mmask8 read = __mmask8((1u << p.count) - 1), written = __mmask8((1u << WIDTH) - 1);
  const float* src = static_cast<const float*>(p.src);
  float* dst = static_cast<float*>(p.dst);
  const __m256 scale = _mm256_set1_ps(p.scale);
  for (int64_t k = 0; k < p.depth; ++k, src += p.ld, dst += WIDTH) {
    _mm_prefetch(reinterpret_cast<const char*>(src + 16 * p.ld), _MM_HINT_T0);
    _mm256_mask_storeu_ps(dst, written, _mm256_mul_ps(_mm256_maskz_loadu_ps(read, src), scale));
  }
}

template <bool BF16, Unit UNIT>
void pack_typed(const Pack& p) {
  if (p.width == MR) return p.along_k ? pack_along_k<BF16, UNIT, MR>(p) : pack_across<BF16, UNIT, MR>(p);
  p.along_k ? pack_along_k<BF16, UNIT, NR>(p) : pack_across<BF16, UNIT, NR>(p);
}

template <int R, int V>
inline __attribute__((always_inline)) void multiply_f32(__m512 (&acc)[R][V], const float* a, const float* b,
                                                        int64_t steps) {
  for (int64_t k = 0; k < steps; ++k, a += MR, b += NR) {
    __m512 w[V];
    // From the L2 cache, where panels of many steps lie: the processor's own prefetcher comes late.
#pragma GCC unroll 2
    for (int j = 0; j < V; ++j) {
      w[j] = _mm512_loadu_ps(b + 16 * j);
      _mm_prefetch(reinterpret_cast<const char*>(b + 8 * NR + 16 * j), _MM_HINT_T0);
    }
    _mm_prefetch(reinterpret_cast<const char*>(a + 16 * MR), _MM_HINT_T0);
#pragma GCC unroll 14
    for (int i = 0; i < R; ++i) {
      const __m512 x = _mm512_set1_ps(a[i]);
#pragma GCC unroll 2
      for (int j = 0; j < V; ++j) acc[i][j] = _mm512_fmadd_ps(x, w[j], acc[i][j]);
    }
  }
}

#ifdef __AVX512BF16__
template <int R, int V>
inline __attribute__((always_inline)) void multiply_pairs(__m512 (&acc)[R][V], const int32_t* a, const int32_t* b,
                                                          int64_t steps) {
  for (int64_t k = 0; k < steps; ++k, a += MR, b += NR) {
    __m512bh w[V];
#pragma GCC unroll 2
    for (int j = 0; j < V; ++j) w[j] = (__m512bh)_mm512_loadu_si512(b + 16 * j);
#pragma GCC unroll 14
    for (int i = 0; i < R; ++i) {
      const __m512bh x = (__m512bh)_mm512_set1_epi32(a[i]);
#pragma GCC unroll 2
      for (int j = 0; j < V; ++j) acc[i][j] = _mm512_dpbf16_ps(acc[i][j], x, w[j]);
    }
  }
}
#endif

// What the mask leaves of the slab's product.
template <int R, int V>
inline __attribute__((always_inline)) void drop(const Tile& t, __m512 (&acc)[R][V]) {
#pragma GCC unroll 14
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) {
      const __mmask16 kept = *reinterpret_cast<const uint16_t*>(t.mask + i * t.mask_stride + 2 * j);
      acc[i][j] = _mm512_maskz_mov_ps(kept, acc[i][j]);
    }
}

// Lanes the tile has, of vector j.
template <int V>
inline void store(const Tile& t, int row, const __m512 (&acc)[V], const __m512 (&bias)[V], const __mmask16 (&m)[V]) {
#pragma GCC unroll 4
  for (int j = 0; j < V; ++j) {
    float* c = t.c + row * t.ldc + 16 * j;
    __m512 v = acc[j];
    if (t.accumulate) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m[j], c));
    _mm512_mask_storeu_ps(c, m[j], _mm512_add_ps(v, bias[j]));
  }
}

template <int R, int V>
inline __attribute__((always_inline)) void store_all(const Tile& t, const __m512 (&acc)[R][V]) {
  __mmask16 m[V];
  __m512 bias[V];
#pragma GCC unroll 4
  for (int j = 0; j < V; ++j) {
    m[j] = first(t.cols - 16 * j);
    bias[j] = t.bias ? _mm512_maskz_loadu_ps(m[j], t.bias + 16 * j) : _mm512_setzero_ps();
  }
#pragma GCC unroll 14
  for (int i = 0; i < R; ++i) store<V>(t, i, acc[i], bias, m);
}

template <bool PAIRS, int R, int V>
void tile_of(const Tile& t) {
  __m512 acc[R][V];
#pragma GCC unroll 14
  for (int i = 0; i < R; ++i) {
    for (int j = 0; j < V; ++j) acc[i][j] = _mm512_setzero_ps();
    for (int j = 0; j < V; ++j) _mm_prefetch(reinterpret_cast<const char*>(t.c + i * t.ldc + 16 * j), _MM_HINT_T0);
  }
  if (t.slab) {
    multiply_f32<R, V>(acc, t.slab_a, t.slab_b, t.slab);
    if (t.mask) drop<R, V>(t, acc);
  }
#ifdef __AVX512BF16__
  if constexpr (PAIRS)
    multiply_pairs<R, V>(acc, static_cast<const int32_t*>(t.a), static_cast<const int32_t*>(t.b), t.units);
#endif
  if constexpr (!PAIRS)
    multiply_f32<R, V>(acc, static_cast<const float*>(t.a), static_cast<const float*>(t.b), t.units);
  store_all<R, V>(t, acc);
}

template <bool PAIRS, int R>
void tile_rows(const Tile& t) {
  t.cols > 16 ? tile_of<PAIRS, R, 2>(t) : tile_of<PAIRS, R, 1>(t);
}

template <bool PAIRS>
void tile_any(const Tile& t) {
  switch (t.rows) {
    case 1: return tile_rows<PAIRS, 1>(t);
    case 2: return tile_rows<PAIRS, 2>(t);
    case 3: return tile_rows<PAIRS, 3>(t);
    case 4: return tile_rows<PAIRS, 4>(t);
    case 5: return tile_rows<PAIRS, 5>(t);
    case 6: return tile_rows<PAIRS, 6>(t);
    case 7: return tile_rows<PAIRS, 7>(t);
    case 8: return tile_rows<PAIRS, 8>(t);
    case 9: return tile_rows<PAIRS, 9>(t);
    case 10: return tile_rows<PAIRS, 10>(t);
    case 11: return tile_rows<PAIRS, 11>(t);
    case 12: return tile_rows<PAIRS, 12>(t);
    case 13: return tile_rows<PAIRS, 13>(t);
    default: return tile_rows<PAIRS, 14>(t);
  }
}

}  // namespace
}  // namespace lowrank::cpu::gemm
