// f32 products on AVX2 with FMA: 6x16 tiles, 12 accumulators, 8 loads for 12 multiply-adds.
#include "cpu/gemm/avx2.h"

namespace lowrank::cpu::gemm {
namespace {

constexpr int MR = 6, NR = 16;

inline __m256 round_bf16(__m256 v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i sum = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
  const __m256 rounded = _mm256_castsi256_ps(_mm256_and_si256(sum, _mm256_set1_epi32(int(0xFFFF0000))));
  return _mm256_blendv_ps(rounded, v, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
}

// n <= 8 neighbouring elements as units.
template <bool BF16, Unit UNIT>
inline __m256 load_units(const Pack& p, int64_t at, int64_t n) {
  __m256 v;
  if constexpr (BF16) v = load_bf16(static_cast<const uint16_t*>(p.src) + at, n);
  else v = load_f32(static_cast<const float*>(p.src) + at, n);
  if constexpr (UNIT == Unit::F32) return _mm256_mul_ps(v, _mm256_set1_ps(p.scale));
  return BF16 ? v : round_bf16(v);
}

inline void transpose(__m256 (&r)[8]) {
  __m256 t[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
    t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) r[i] = t[i];
}

template <int WIDTH>
inline void store_units(float* dst, int g, __m256 v) {
  if (WIDTH - g >= 8) _mm256_storeu_ps(dst + g, v);
  else _mm256_maskstore_ps(dst + g, first(WIDTH - g), v);
}

template <bool BF16, Unit UNIT, int WIDTH>
void pack_along_k(const Pack& p) {
  float* dst = static_cast<float*>(p.dst);
  for (int64_t k = 0; k < p.depth; k += 8, dst += 8 * WIDTH) {
    const int64_t steps = p.depth - k < 8 ? p.depth - k : 8;
    for (int g = 0; g < WIDTH; g += 8) {
      __m256 r[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i)
        r[i] = g + i < p.count ? load_units<BF16, UNIT>(p, (g + i) * p.ld + k, steps) : _mm256_setzero_ps();
      transpose(r);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i)
        if (i < steps) store_units<WIDTH>(dst + i * WIDTH, g, r[i]);
    }
  }
}

template <bool BF16, Unit UNIT, int WIDTH>
void pack_across(const Pack& p) {
  float* dst = static_cast<float*>(p.dst);
  for (int64_t k = 0; k < p.depth; ++k, dst += WIDTH)
    for (int g = 0; g < WIDTH; g += 8)
      store_units<WIDTH>(dst, g,
                         g < p.count ? load_units<BF16, UNIT>(p, k * p.ld + g, p.count - g) : _mm256_setzero_ps());
}

template <bool BF16, Unit UNIT>
void pack_typed(const Pack& p) {
  if (p.width == MR) return p.along_k ? pack_along_k<BF16, UNIT, MR>(p) : pack_across<BF16, UNIT, MR>(p);
  p.along_k ? pack_along_k<BF16, UNIT, NR>(p) : pack_across<BF16, UNIT, NR>(p);
}

void pack(const Pack& p) {
  if (p.unit == Unit::F32) return p.bf16 ? pack_typed<true, Unit::F32>(p) : pack_typed<false, Unit::F32>(p);
  p.bf16 ? pack_typed<true, Unit::Rounded>(p) : pack_typed<false, Unit::Rounded>(p);
}

template <int R, int V>
inline __attribute__((always_inline)) void multiply(__m256 (&acc)[R][V], const float* a, const float* b,
                                                    int64_t steps) {
  for (int64_t k = 0; k < steps; ++k, a += MR, b += NR) {
    __m256 w[V];
#pragma GCC unroll 2
    for (int j = 0; j < V; ++j) w[j] = _mm256_loadu_ps(b + 8 * j);
#pragma GCC unroll 6
    for (int i = 0; i < R; ++i) {
      const __m256 x = _mm256_broadcast_ss(a + i);
#pragma GCC unroll 2
      for (int j = 0; j < V; ++j) acc[i][j] = _mm256_fmadd_ps(x, w[j], acc[i][j]);
    }
  }
}

inline void store(const Tile& t, int i, int column, __m256 v) {
  float* c = t.c + i * t.ldc + column;
  const int64_t n = t.cols - column;
  if (n >= 8) {
    if (t.accumulate) v = _mm256_add_ps(v, _mm256_loadu_ps(c));
    if (t.bias) v = _mm256_add_ps(v, _mm256_loadu_ps(t.bias + column));
    _mm256_storeu_ps(c, v);
  } else {
    const __m256i m = first(n);
    if (t.accumulate) v = _mm256_add_ps(v, _mm256_maskload_ps(c, m));
    if (t.bias) v = _mm256_add_ps(v, _mm256_maskload_ps(t.bias + column, m));
    _mm256_maskstore_ps(c, m, v);
  }
}

template <int R, int V>
void tile_of(const Tile& t) {
  __m256 acc[R][V];
#pragma GCC unroll 6
  for (int i = 0; i < R; ++i) {
    for (int j = 0; j < V; ++j) acc[i][j] = _mm256_setzero_ps();
    _mm_prefetch(reinterpret_cast<const char*>(t.c + i * t.ldc), _MM_HINT_T0);
  }
  if (t.slab) {
    multiply<R, V>(acc, t.slab_a, t.slab_b, t.slab);
    if (t.mask)
#pragma GCC unroll 6
      for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
        for (int j = 0; j < V; ++j) acc[i][j] = keep(acc[i][j], t.mask[i * t.mask_stride + j]);
  }
  multiply<R, V>(acc, static_cast<const float*>(t.a), static_cast<const float*>(t.b), t.units);
#pragma GCC unroll 6
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < V; ++j) store(t, i, 8 * j, acc[i][j]);
}

template <int R>
void tile_rows(const Tile& t) {
  t.cols > 8 ? tile_of<R, 2>(t) : tile_of<R, 1>(t);
}

void tile(const Tile& t) {
  switch (t.rows) {
    case 1: return tile_rows<1>(t);
    case 2: return tile_rows<2>(t);
    case 3: return tile_rows<3>(t);
    case 4: return tile_rows<4>(t);
    case 5: return tile_rows<5>(t);
    default: return tile_rows<6>(t);
  }
}

}  // namespace

const Kernel kernel_avx2 = {MR, NR, pack, tile};

}  // namespace lowrank::cpu::gemm
