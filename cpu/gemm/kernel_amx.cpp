// bf16 products with f32 accumulation on AMX: 32x32 elements in four tiles of 16x16, so four loads of 1 KB for four
// products of 16x16x32. Panels of b are those of vdpbf16ps, [units][32]: a tile of b is 16 units of 16 columns. Panels
// of a are [units / 16][32 rows][16 units], so nothing of a is transposed. Slabs stay f32: tiles begin with them.
#include "cpu/gemm/avx512.h"

namespace lowrank::cpu::gemm {
namespace {

constexpr int PANEL = 32, STEP = 16, PASS = 192;  // rows or columns; units
constexpr double PACK_COST = 8, LOAD_COST = 3;    // tiles take an eighth of the time, memory the same
constexpr int64_t ROW = 4 * STEP;                 // bytes of a tile's row
constexpr int64_t A_STEP = PANEL * STEP;          // units of all rows

struct alignas(64) TileConfig {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {ROW, ROW, ROW, ROW, ROW, ROW, ROW, ROW};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileConfig CONFIG;

void begin() { _tile_loadconfig(&CONFIG); }
void end() { _tile_release(); }

// g++ 12 doesn't know that a tile's load and store read and write memory.
inline void settle(const void* memory) { __asm__ volatile("" ::"r"(memory) : "memory"); }

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

template <bool BF16>
void pack_slab(const Pack& p) {
  p.along_k ? pack_along_k<BF16, Unit::F32, PANEL>(p) : pack_across<BF16, Unit::F32, PANEL>(p);
}

void pack(const Pack& p) {
  if (p.unit == Unit::F32) return p.bf16 ? pack_slab<true>(p) : pack_slab<false>(p);
  p.bf16 ? pack_pairs<true>(p) : pack_pairs<false>(p);
}

// [32][32] floats, or a place in c.
struct Place {
  float* at;
  int64_t stride;  // bytes between rows
};

constexpr int64_t BLOCK_ROW = 4 * PANEL;  // bytes

// Rows [row, row + 8) of what the tiles begin with: mask(slab) (+ c) (+ bias).
void start_rows(const Tile& t, int row, float* block) {
  constexpr int R = 8;
  __m512 acc[R][2];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) acc[i][0] = acc[i][1] = _mm512_setzero_ps();
  const float *a = t.slab_a + row, *b = t.slab_b;
  for (int64_t k = 0; k < t.slab; ++k, a += PANEL, b += PANEL) {
    const __m512 w[2] = {_mm512_loadu_ps(b), _mm512_loadu_ps(b + 16)};
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      const __m512 x = _mm512_set1_ps(a[i]);
      acc[i][0] = _mm512_fmadd_ps(x, w[0], acc[i][0]);
      acc[i][1] = _mm512_fmadd_ps(x, w[1], acc[i][1]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __mmask16 m = row + i < t.rows ? first(t.cols - 16 * j) : __mmask16(0);
      __m512 v = acc[i][j];
      if (t.mask && t.slab && m)
        v = _mm512_maskz_mov_ps(*reinterpret_cast<const uint16_t*>(t.mask + (row + i) * t.mask_stride + 2 * j), v);
      if (t.accumulate) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, t.c + (row + i) * t.ldc + 16 * j));
      if (t.bias) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, t.bias + 16 * j));
      _mm512_store_ps(block + (row + i) * PANEL + 16 * j, v);
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

template <bool TALL, bool WIDE>
void multiply(const Tile& t, Place from, Place to) {
  begin_tiles<TALL, WIDE>(from);
  settle(t.a), settle(t.b);
  const char *a = static_cast<const char*>(t.a), *b = static_cast<const char*>(t.b);
  const int64_t steps = t.units / STEP;
  Ahead ahead(t, steps > 0 ? steps : 1);
  for (int64_t step = 0; step < steps; ++step, a += 4 * A_STEP, b += 4 * A_STEP) {
    ahead.step();
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
  char* end = reinterpret_cast<char*>(to.at);
  _tile_stored(0, end, to.stride);
  if constexpr (WIDE) _tile_stored(1, end + ROW, to.stride);
  if constexpr (TALL) _tile_stored(2, end + 16 * to.stride, to.stride);
  if constexpr (TALL && WIDE) _tile_stored(3, end + 16 * to.stride + ROW, to.stride);
  settle(end);
}

void store(const Tile& t, const float* block) {
  for (int i = 0; i < t.rows; ++i)
    for (int j = 0; j < t.cols; j += 16)
      _mm512_mask_storeu_ps(t.c + i * t.ldc + j, first(t.cols - j), _mm512_load_ps(block + i * PANEL + j));
}

void tile(const Tile& t) {
  alignas(64) float block[PANEL * PANEL];
  const bool whole = t.rows == PANEL && t.cols == PANEL;
  const Place c = {t.c, 4 * t.ldc}, edge = {block, BLOCK_ROW};
  Place from = {nullptr, 0};
  if (whole && t.accumulate && !t.bias && !t.slab) {
    from = c;
  } else if (whole && t.bias && !t.accumulate && !t.slab) {
    from = {const_cast<float*>(t.bias), 0};
  } else if (t.accumulate || t.bias || t.slab) {
    for (int row = 0; row < t.rows; row += 8) start_rows(t, row, block);
    from = edge;
  }
  const Place to = whole ? c : edge;
  if (t.rows > 16) t.cols > 16 ? multiply<true, true>(t, from, to) : multiply<true, false>(t, from, to);
  else t.cols > 16 ? multiply<false, true>(t, from, to) : multiply<false, false>(t, from, to);
  if (!whole) store(t, block);
}

}  // namespace

const Kernel kernel_amx = {PANEL, PANEL, pack, tile, PACK_COST, LOAD_COST, PASS, STEP, begin, end};

}  // namespace lowrank::cpu::gemm
