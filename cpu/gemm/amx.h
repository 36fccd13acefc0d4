#pragma once
// What the files of the AMX set share: tiles of 16 rows of 64 bytes, and f32 in two parts of bf16. Internal linkage, no
// standard headers.
#include "cpu/gemm/avx512.h"

namespace lowrank::cpu::gemm {
namespace {

constexpr int PANEL = 32, STEP = 16;      // rows or columns; units
constexpr int64_t ROW = 4 * STEP;         // bytes of a tile's row
constexpr int64_t A_STEP = PANEL * STEP;  // units of all rows
constexpr int64_t BLOCK_ROW = 4 * PANEL;  // bytes of a row of [..][32] floats

struct alignas(64) TileConfig {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {ROW, ROW, ROW, ROW, ROW, ROW, ROW, ROW};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileConfig CONFIG;

inline void begin() { _tile_loadconfig(&CONFIG); }
inline void end() { _tile_release(); }

// g++ 12 doesn't know that a tile's load and store read and write memory.
inline void settle(const void* memory) { __asm__ volatile("" ::"r"(memory) : "memory"); }

// v = high + low to 16 bits of mantissa: high is v to the nearest bf16 (halves away from 0), as f32, low what is left.
struct Parts {
  __m512 high, low;
};
inline Parts split(__m512 v) {
  const __m512i up = _mm512_add_epi32(_mm512_castps_si512(v), _mm512_set1_epi32(0x8000));
  const __m512 high = _mm512_castsi512_ps(_mm512_and_si512(up, _mm512_set1_epi32(int(0xFFFF0000))));
  return {high, _mm512_sub_ps(v, high)};
}

// The same of a and b, 32 bf16 each part: those of a, then those of b. High is to the nearest even, as Pack rounds.
struct Halves {
  __m512i high, low;
};
inline Halves split(__m512 a, __m512 b) {
  const __m512i high = (__m512i)_mm512_cvtne2ps_pbh(b, a);
  const __m512 low_a = _mm512_sub_ps(a, widen(_mm512_castsi512_si256(high)));
  const __m512 low_b = _mm512_sub_ps(b, widen(_mm512_extracti64x4_epi64(high, 1)));
  return {high, (__m512i)_mm512_cvtne2ps_pbh(low_b, low_a)};
}

// 32 bf16: those of a, then those of b.
inline __m512i in_turn(__m512 a, __m512 b) { return (__m512i)_mm512_cvtne2ps_pbh(b, a); }
// 16 pairs of an element of a and one of b, both rounded as in split().
inline __m512i in_pairs(__m512 a, __m512 b) {
  const __m512i half = _mm512_set1_epi32(0x8000), upper = _mm512_set1_epi32(int(0xFFFF0000));
  const __m512i first = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(a), half), 16);
  const __m512i second = _mm512_add_epi32(_mm512_castps_si512(b), half);
  return _mm512_ternarylogic_epi32(second, upper, first, 0xEA);  // (second & upper) | first
}
// The same of what has no more bits than a bf16.
inline __m512i exact_pairs(__m512 a, __m512 b) {
  return _mm512_or_si512(_mm512_castps_si512(b), _mm512_srli_epi32(_mm512_castps_si512(a), 16));
}

}  // namespace
}  // namespace lowrank::cpu::gemm
