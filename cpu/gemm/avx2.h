#pragma once
// Small pieces shared by the AVX2 objects. Internal linkage, no standard headers.
#include <immintrin.h>

#include "cpu/gemm/kernel.h"

namespace lowrank::cpu::gemm {
namespace {

// The first n lanes.
inline __m256i first(int64_t n) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n > 8 ? 8 : n < 0 ? 0 : int(n)), lanes);
}

inline __m256 widen(__m128i bf16) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bf16), 16)); }

// n <= 8 bf16, nothing read past them.
[[maybe_unused]] inline __m256 load_bf16(const uint16_t* src, int64_t n) {
  if (n >= 8) return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src)));
  uint16_t part[8] = {};
  for (int64_t i = 0; i < n; ++i) part[i] = src[i];
  return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(part)));
}

[[maybe_unused]] inline __m256 load_f32(const float* src, int64_t n) {
  return n >= 8 ? _mm256_loadu_ps(src) : _mm256_maskload_ps(src, first(n));
}

// Lanes whose bit is set.
[[maybe_unused]] inline __m256 keep(__m256 v, uint8_t bits) {
  const __m256i lane_bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i set = _mm256_and_si256(_mm256_set1_epi32(bits), lane_bits);
  return _mm256_and_ps(v, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lane_bits)));
}

}  // namespace
}  // namespace lowrank::cpu::gemm
