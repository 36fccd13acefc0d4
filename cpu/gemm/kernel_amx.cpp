// bf16 products with f32 accumulation on AMX: 32x32 elements in four tiles of 16x16, so four loads of 1 KB for four
// products of 16x16x32. Panels of b are those of vdpbf16ps, [units][32]: a tile of b is 16 units of 16 columns. Panels
// of a are [units / 16][32 rows][16 units], so nothing of a is transposed. A slab is more steps of K in front, its
// factors in two parts of bf16: [high | low | high] of a, [high | high | low] of b.
#include "cpu/gemm/amx.h"

namespace lowrank::cpu::gemm {
namespace {

constexpr int PASS = 192;                       // units
constexpr double PACK_COST = 8, LOAD_COST = 3;  // tiles take an eighth of the time, memory the same

// Of b, as for vdpbf16ps; the last units of a step are 0.
template <bool BF16>
void pack_b_along_k(const Pack& p) {
  float* dst = static_cast<float*>(p.dst);
  for (int64_t k = 0; k < p.depth; k += 2 * STEP, dst += A_STEP)
    for (int g = 0; g < PANEL; g += 16) {
      __m512 r[16];
      for (int i = g; i < p.count && i < g + 16; ++i) {
        prefetch(p, i * p.ld + k + 8 * STEP);
        if (!BF16) prefetch(p, i * p.ld + k + 9 * STEP);
      }
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i)
        r[i] =
            g + i < p.count ? load_along_k<BF16, Unit::Pairs>(p, (g + i) * p.ld + k, p.depth - k) : _mm512_setzero_ps();
      transpose(r);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) _mm512_storeu_ps(dst + i * PANEL + g, r[i]);
    }
}

// Units of 16 neighbouring rows or columns from g on, at steps k and k + 1; zeros beyond the depth.
template <bool BF16>
inline __m512 load_pairs(const Pack& p, int64_t k, int g) {
  if (k >= p.depth) return _mm512_setzero_ps();
  return load_across<BF16, Unit::Pairs>(p, k * p.ld + (g < p.count ? g : 0), k + 1 < p.depth, first(p.count - g));
}

template <bool BF16>
void pack_b_across(const Pack& p) {
  float* dst = static_cast<float*>(p.dst);
  for (int64_t begin = 0; begin < p.depth; begin += 2 * STEP)
    for (int64_t k = begin; k < begin + 2 * STEP; k += 2, dst += PANEL)
      for (int g = 0; g < PANEL; g += 16) {
        prefetch(p, (k + 32) * p.ld + g);
        prefetch(p, (k + 33) * p.ld + g);
        _mm512_storeu_ps(dst + g, load_pairs<BF16>(p, k, g));
      }
}

template <bool BF16>
void pack_a_along_k(const Pack& p) {
  constexpr int ROWS = 4;  // read together
  for (int g = 0; g < PANEL; g += ROWS) {
    float* dst = static_cast<float*>(p.dst) + g * STEP;
    for (int64_t k = 0; k < p.depth; k += 2 * STEP, dst += A_STEP)
#pragma GCC unroll 4
      for (int i = 0; i < ROWS; ++i) {
        const __m512 v =
            g + i < p.count ? load_along_k<BF16, Unit::Pairs>(p, (g + i) * p.ld + k, p.depth - k) : _mm512_setzero_ps();
        _mm512_storeu_ps(dst + i * STEP, v);
      }
  }
}

template <bool BF16>
void pack_a_across(const Pack& p) {
  float* dst = static_cast<float*>(p.dst);
  for (int64_t k = 0; k < p.depth; k += 2 * STEP)
    for (int g = 0; g < PANEL; g += 16, dst += 16 * STEP) {
      __m512 r[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) r[i] = load_pairs<BF16>(p, k + 2 * i, g);
      transpose(r);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) _mm512_storeu_ps(dst + i * STEP, r[i]);
    }
}

template <bool BF16>
void pack_pairs(const Pack& p) {
  if (p.of_a) return p.along_k ? pack_a_along_k<BF16>(p) : pack_a_across<BF16>(p);
  p.along_k ? pack_b_along_k<BF16>(p) : pack_b_across<BF16>(p);
}

// Element q of a line (a row of a, a column of b) of a slab's panel.
inline uint16_t* slab_place(const Pack& p, int line, int64_t q) {
  uint16_t* step = static_cast<uint16_t*>(p.dst) + q / (2 * STEP) * 2 * A_STEP;
  const int64_t k = q % (2 * STEP);
  return p.of_a ? step + line * 2 * STEP + k : step + k / 2 * 2 * PANEL + 2 * line + k % 2;
}

// n elements of a line from q on.
inline void put(const Pack& p, int line, int64_t q, __m512 v, int64_t left) {
  const int64_t n = left < 16 ? left : 16;
  const __m256i rounded = (__m256i)_mm512_cvtneps_pbh(v);
  if (p.of_a && q % (2 * STEP) + n <= 2 * STEP) {
    _mm256_mask_storeu_epi16(slab_place(p, line, q), first(n), rounded);
    return;
  }
  if (!p.of_a && q % 2 == 0 && n % 2 == 0 && q % (2 * STEP) + n <= 2 * STEP) {  // whole pairs, a row of units each
    const __m256i lines = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_mask_i32scatter_epi32(slab_place(p, line, q), __mmask8(first(n / 2)), _mm256_slli_epi32(lines, 5), rounded,
                                 4);  // PANEL units apart
    return;
  }
  alignas(32) uint16_t elements[16];
  _mm256_store_si256(reinterpret_cast<__m256i*>(elements), rounded);
  for (int64_t i = 0; i < n; ++i) *slab_place(p, line, q + i) = elements[i];
}

// `count` lines of a slab in two parts; what else the panel has is 0 already.
void pack_slab(const Pack& p) {
  const int64_t r = p.depth;
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i steps = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(int(p.ld)));
  for (int line = 0; line < p.count; ++line)
    for (int64_t k = 0; k < r; k += 16) {
      const float* at = static_cast<const float*>(p.src) + (p.along_k ? line * p.ld + k : k * p.ld + line);
      const __mmask16 m = first(r - k);
      const __m512 v =
          p.along_k ? _mm512_maskz_loadu_ps(m, at) : _mm512_mask_i32gather_ps(_mm512_setzero_ps(), m, steps, at, 4);
      const Parts parts = split(_mm512_mul_ps(v, _mm512_set1_ps(p.scale)));
      put(p, line, k, parts.high, r - k);
      put(p, line, r + k, p.of_a ? parts.low : parts.high, r - k);
      put(p, line, 2 * r + k, p.of_a ? parts.high : parts.low, r - k);
    }
}

void pack(const Pack& p) {
  if (p.unit == Unit::Split) return pack_slab(p);
  p.bf16 ? pack_pairs<true>(p) : pack_pairs<false>(p);
}

// [32][32] floats, or a place in c.
struct Place {
  float* at;
  int64_t stride;  // bytes between rows
};

// What the tiles go on from: the slab's product, masked, or nothing, (+ c) (+ bias).
void start_rows(const Tile& t, float* block) {
  for (int i = 0; i < PANEL; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __mmask16 m = i < t.rows ? first(t.cols - 16 * j) : __mmask16(0);
      float* at = block + i * PANEL + 16 * j;
      __m512 v = _mm512_setzero_ps();
      if (t.mask && t.slab && m)
        v = _mm512_maskz_load_ps(*reinterpret_cast<const uint16_t*>(t.mask + i * t.mask_stride + 2 * j), at);
      if (t.accumulate) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, t.c + i * t.ldc + 16 * j));
      if (t.bias) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, t.bias + 16 * j));
      _mm512_store_ps(at, v);
    }
}

// Fetches what the next tile and the next panel of b want, some of it a step.
class Ahead {
 public:
  Ahead(const Tile& t, int64_t steps)
      : c(t.next_c), ldc(t.ldc), rows(int(PANEL / steps) + 1), lines(static_cast<const char*>(t.next_b)),
        end(lines + 64 * t.next_lines), share(64 * (t.next_lines / steps + 1)) {}
  void step() {
    for (int i = 0; i < rows && row < PANEL; ++i, ++row, c += ldc) {
      __builtin_prefetch(c, 1);
      __builtin_prefetch(c + 16, 1);
    }
    for (const char* stop = lines + share; lines < stop && lines < end; lines += 64) _mm_prefetch(lines, _MM_HINT_T1);
  }

 private:
  const float* c;
  int64_t ldc;
  int rows, row = 0;
  const char *lines, *end;
  int64_t share;
};

// More than 16 rows or columns need two tiles.
template <bool TALL, bool WIDE>
void begin_tiles(Place from) {
  const char* start = reinterpret_cast<const char*>(from.at);
  if (start) {
    settle(start);
    _tile_loadd(0, start, from.stride);
    if constexpr (WIDE) _tile_loadd(1, start + ROW, from.stride);
    if constexpr (TALL) _tile_loadd(2, start + 16 * from.stride, from.stride);
    if constexpr (TALL && WIDE) _tile_loadd(3, start + 16 * from.stride + ROW, from.stride);
  } else {
    _tile_zero(0);
    if constexpr (WIDE) _tile_zero(1);
    if constexpr (TALL) _tile_zero(2);
    if constexpr (TALL && WIDE) _tile_zero(3);
  }
}

// Packed panels of some steps of K.
struct Stretch {
  const void *a, *b;
  int64_t units;
};

template <bool TALL, bool WIDE, typename Between>
inline __attribute__((always_inline)) void add(const Stretch& s, Between&& between) {
  settle(s.a), settle(s.b);
  const char *a = static_cast<const char*>(s.a), *b = static_cast<const char*>(s.b);
  for (int64_t step = 0; step < s.units / STEP; ++step, a += 4 * A_STEP, b += 4 * A_STEP) {
    between();
    _tile_loadd(6, b, BLOCK_ROW);
    _tile_loadd(4, a, ROW);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (WIDE) {
      _tile_loadd(7, b + ROW, BLOCK_ROW);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (TALL) {
      _tile_loadd(5, a + 16 * ROW, ROW);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (TALL && WIDE) _tile_dpbf16ps(3, 5, 7);
  }
}

template <bool TALL, bool WIDE>
void end_tiles(Place to) {
  char* end = reinterpret_cast<char*>(to.at);
  _tile_stored(0, end, to.stride);
  if constexpr (WIDE) _tile_stored(1, end + ROW, to.stride);
  if constexpr (TALL) _tile_stored(2, end + 16 * to.stride, to.stride);
  if constexpr (TALL && WIDE) _tile_stored(3, end + 16 * to.stride + ROW, to.stride);
  settle(end);
}

template <bool TALL, bool WIDE>
void multiply(const Tile& t, Place from, Place to) {
  const int64_t steps = t.units / STEP;
  Ahead ahead(t, steps > 0 ? steps : 1);
  const Stretch slab = {t.slab_a, t.slab_b, t.slab}, rest = {t.a, t.b, t.units};
  begin_tiles<TALL, WIDE>(from);
  if (!t.mask) add<TALL, WIDE>(slab, [] {});
  add<TALL, WIDE>(rest, [&] { ahead.step(); });
  end_tiles<TALL, WIDE>(to);
}

// The slab's product alone.
void multiply_slab(const Tile& t, Place to) {
  begin_tiles<true, true>({nullptr, 0});
  add<true, true>({t.slab_a, t.slab_b, t.slab}, [] {});
  end_tiles<true, true>(to);
}

void store(const Tile& t, const float* block) {
  for (int i = 0; i < t.rows; ++i)
    for (int j = 0; j < t.cols; j += 16)
      _mm512_mask_storeu_ps(t.c + i * t.ldc + j, first(t.cols - j), _mm512_load_ps(block + i * PANEL + j));
}

void tile(const Tile& t) {
  alignas(64) float block[PANEL * PANEL];
  const bool whole = t.rows == PANEL && t.cols == PANEL;
  const bool masked = t.mask && t.slab;
  const Place c = {t.c, 4 * t.ldc}, edge = {block, BLOCK_ROW};
  Place from = {nullptr, 0};
  if (whole && t.accumulate && !t.bias && !masked) {
    from = c;
  } else if (whole && t.bias && !t.accumulate && !masked) {
    from = {const_cast<float*>(t.bias), 0};
  } else if (t.accumulate || t.bias || masked) {
    if (masked) multiply_slab(t, edge);
    start_rows(t, block);
    from = edge;
  }
  const Place to = whole ? c : edge;
  if (t.rows > 16) t.cols > 16 ? multiply<true, true>(t, from, to) : multiply<true, false>(t, from, to);
  else t.cols > 16 ? multiply<false, true>(t, from, to) : multiply<false, false>(t, from, to);
  if (!whole) store(t, block);
}

}  // namespace

const Kernel kernel_amx = {PANEL, PANEL, pack, tile, PACK_COST, LOAD_COST, PASS, STEP, true, begin, end};

}  // namespace lowrank::cpu::gemm
