// Thin products of low-rank factors on AMX tiles. Every f32 operand is two parts of bf16, so three products of tiles
// take the place of one, two where the operand that is not thin is bf16 in memory, and the result has 16 bits of
// mantissa; sums are f32. The operand that is not thin is read straight from row-major memory, and is split into tiles
// in the first cache.
#include "cpu/gemm/amx.h"

namespace lowrank::cpu::gemm {
namespace {

constexpr int64_t RANKS = 16, ELEMENTS = 32;      // of a tile: ranks; elements of K
constexpr int64_t TILE = 1024;                    // bytes
constexpr int64_t COLUMNS = 64, OUTER_ROWS = 64;  // of a block of outer()
constexpr int64_t STEPS = OUTER_ROWS / ELEMENTS;

inline int64_t up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

inline void put(char* at, __m512i v) { _mm512_storeu_si512(at, v); }

// [groups of 16 ranks][steps of 32 k][high | low] tiles of [16 pairs of k][16 ranks].
int64_t packed_bytes(int64_t r, int64_t k) { return up(r, RANKS) / RANKS * (up(k, ELEMENTS) / ELEMENTS) * 2 * TILE; }

// w[r, k]: 16 ranks from `rank` on, 32 elements from `at` on.
void pack_along_k(const float* w, int64_t rank, int64_t r, int64_t at, int64_t k, char* to) {
  __m512 high[16], low[16];
#pragma GCC unroll 16
  for (int i = 0; i < RANKS; ++i) {
    const float* line = w + (rank + i) * k + at;
    const bool exists = rank + i < r;
    const Parts a = split(_mm512_maskz_loadu_ps(exists ? first(k - at) : __mmask16(0), line));
    const Parts b = split(_mm512_maskz_loadu_ps(exists ? first(k - at - 16) : __mmask16(0), line + 16));
    high[i] = _mm512_castsi512_ps(in_turn(a.high, b.high)), low[i] = _mm512_castsi512_ps(in_turn(a.low, b.low));
  }
  transpose(high), transpose(low);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) _mm512_storeu_ps(to + i * ROW, high[i]), _mm512_storeu_ps(to + TILE + i * ROW, low[i]);
}

// The same of w[k, r].
void pack_across(const float* w, int64_t rank, int64_t r, int64_t at, int64_t k, char* to) {
  for (int64_t i = 0; i < ELEMENTS / 2; ++i, to += ROW) {
    const int64_t line = at + 2 * i;
    const __mmask16 m = first(r - rank);
    const Parts a = split(_mm512_maskz_loadu_ps(line < k ? m : __mmask16(0), w + line * r + rank));
    const Parts b = split(_mm512_maskz_loadu_ps(line + 1 < k ? m : __mmask16(0), w + (line + 1) * r + rank));
    put(to, exact_pairs(a.high, b.high)), put(to + TILE, in_pairs(a.low, b.low));
  }
}

void pack(const float* w, bool along_k, int64_t r, int64_t k, void* to) {
  char* tile = static_cast<char*>(to);
  for (int64_t rank = 0; rank < r; rank += RANKS)
    for (int64_t at = 0; at < k; at += ELEMENTS, tile += 2 * TILE)
      along_k ? pack_along_k(w, rank, r, at, k, tile) : pack_across(w, rank, r, at, k, tile);
}

// Of elements in memory: whether they have a low part.
template <typename T>
constexpr bool LOW = sizeof(T) == sizeof(float);

// 32 elements, of which `left` are there.
template <bool WHOLE>
inline Halves load_row(const float* at, int64_t left) {
  const __m512 a = WHOLE ? _mm512_loadu_ps(at) : _mm512_maskz_loadu_ps(first(left), at);
  const __m512 b = WHOLE ? _mm512_loadu_ps(at + 16) : _mm512_maskz_loadu_ps(first(left - 16), at + 16);
  return split(a, b);
}
template <bool WHOLE>
inline Halves load_row(const uint16_t* at, int64_t left) {
  const __mmask32 m = WHOLE || left >= ELEMENTS ? ~0u : (1u << left) - 1;
  return {WHOLE ? _mm512_loadu_si512(at) : _mm512_maskz_loadu_epi16(m, at), _mm512_setzero_si512()};
}

// 16 elements. ALL of them, else those of m.
template <bool ALL>
inline Parts load_columns(const float* at, __mmask16 m) {
  return split(ALL ? _mm512_loadu_ps(at) : _mm512_maskz_loadu_ps(m, at));
}
template <bool ALL>
inline Parts load_columns(const uint16_t* at, __mmask16 m) {
  const __m256i* whole = reinterpret_cast<const __m256i*>(at);
  return {widen(ALL ? _mm256_loadu_si256(whole) : _mm256_maskz_loadu_epi16(m, at)), _mm512_setzero_ps()};
}

constexpr int64_t DOT_STEPS = 4;    // split together
constexpr int64_t PART = 2 * TILE;  // of a step: 32 rows of either part
constexpr int64_t QUARTERS = 4;     // one is split while the tiles of another are multiplied
constexpr int64_t DOT_ROWS = PANEL / QUARTERS;

// Where the parts of a step go: [steps][32 rows][32 elements]. `kept`: high parts without the mask, or null.
struct Split {
  char *high, *low, *kept;
};

// Of 32 rows, a quarter: 8 rows of DOT_STEPS steps from `at` on. WHOLE: all of them are there.
template <typename T, bool MASK, bool WHOLE>
inline void split_rows(const SplitDot& d, int64_t row, int64_t at, int64_t quarter, Split to) {
  const int64_t left = d.k - at, ldx = d.ldx, mask_stride = d.mask_stride, last = d.rows - 1;
  const T* x = static_cast<const T*>(d.x.data) + at;
  const uint8_t* mask = MASK ? d.mask + at / 8 : nullptr;
  for (int64_t i = quarter * DOT_ROWS; i < (quarter + 1) * DOT_ROWS; ++i) {
    const int64_t here = WHOLE || row + i < last ? row + i : last;
    const T* line = x + here * ldx;
    const uint8_t* bits = MASK ? mask + here * mask_stride : nullptr;
    const char* next = reinterpret_cast<const char*>(line + PANEL * ldx);
#pragma GCC unroll 4
    for (int64_t step = 0; step < DOT_STEPS; ++step) {
      const int64_t k = step * ELEMENTS, place = step * PART + i * ROW;
      if (!WHOLE && k >= left) break;
      _mm_prefetch(next + int64_t(sizeof(T)) * k, _MM_HINT_T1);
      if (LOW<T>) _mm_prefetch(next + int64_t(sizeof(T)) * k + 64, _MM_HINT_T1);
      Halves halves = load_row<WHOLE>(line + k, left - k);
      if constexpr (MASK) {
        if (to.kept) put(to.kept + place, halves.high);
        const __mmask32 m = *reinterpret_cast<const uint32_t*>(bits + k / 8);
        halves = {_mm512_maskz_mov_epi16(m, halves.high), _mm512_maskz_mov_epi16(m, halves.low)};
      }
      put(to.high + place, halves.high);
      if (LOW<T>) put(to.low + place, halves.low);
    }
  }
}

// One step. Tiles: 0, 1 sums of high parts and 2, 3 of the rest, each a chain of its own; 4, 5 parts of the rows; 6, 7
// of w.
template <bool LOW>
inline void dot_step(const char* high, const char* low, const char* w) {
  _tile_loadd(6, w, ROW);
  _tile_loadd(7, w + TILE, ROW);
  _tile_loadd(4, high, ROW);
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(2, 4, 7);
  _tile_loadd(5, high + TILE, ROW);
  _tile_dpbf16ps(1, 5, 6);
  _tile_dpbf16ps(3, 5, 7);
  if (!LOW) return;
  _tile_loadd(4, low, ROW);
  _tile_dpbf16ps(2, 4, 6);
  _tile_loadd(5, low + TILE, ROW);
  _tile_dpbf16ps(3, 5, 6);
}

// y of 32 rows and 16 ranks.
template <typename T, bool MASK>
void dot_panel(const SplitDot& d, int64_t row, int64_t rank) {
  alignas(64) char parts[2][2][DOT_STEPS * PART];
  const int64_t steps = up(d.k, ELEMENTS) / ELEMENTS, chunks = up(steps, DOT_STEPS) / DOT_STEPS;
  const char* w = static_cast<const char*>(d.w) + rank / RANKS * steps * 2 * TILE;
  char* packed = d.packed && rank == 0 ? static_cast<char*>(d.packed) + row / PANEL * steps * PART : nullptr;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  Split before = {};
  for (int64_t chunk = 0; chunk <= chunks; ++chunk) {
    const int64_t at = chunk * DOT_STEPS * ELEMENTS;
    char* kept = packed ? packed + chunk * DOT_STEPS * PART : nullptr;
    const Split now = {kept && !MASK ? kept : parts[chunk % 2][0], parts[chunk % 2][1], kept};
    const bool whole = row + PANEL <= d.rows && at + DOT_STEPS * ELEMENTS <= d.k;
    for (int64_t quarter = 0; quarter < QUARTERS; ++quarter) {
      if (chunk < chunks)
        whole ? split_rows<T, MASK, true>(d, row, at, quarter, now)
              : split_rows<T, MASK, false>(d, row, at, quarter, now);
      const int64_t step = (chunk - 1) * DOT_STEPS + quarter;
      if (chunk > 0 && step < steps)
        dot_step<LOW<T>>(before.high + quarter * PART, before.low + quarter * PART, w + step * 2 * TILE);
    }
    settle(parts), settle(packed);
    before = now;
  }
  float* sums = reinterpret_cast<float*>(parts);
  _tile_stored(0, sums, ROW);
  _tile_stored(1, sums + 256, ROW);
  _tile_stored(2, sums + 512, ROW);
  _tile_stored(3, sums + 768, ROW);
  settle(sums);
  for (int64_t i = 0; i < PANEL && row + i < d.rows; ++i, sums += 16) {
    const __m512 sum = _mm512_add_ps(_mm512_load_ps(sums), _mm512_load_ps(sums + 512));
    _mm512_mask_storeu_ps(d.y + (row + i) * d.r + rank, first(d.r - rank), _mm512_mul_ps(sum, _mm512_set1_ps(d.scale)));
  }
}

template <typename T>
void dot_panels(const SplitDot& d) {
  for (int64_t row = 0; row < d.rows; row += PANEL)
    for (int64_t rank = 0; rank < d.r; rank += RANKS)
      d.mask ? dot_panel<T, true>(d, row, rank) : dot_panel<T, false>(d, row, rank);
}

void dot(const SplitDot& d) { d.x.bf16 ? dot_panels<uint16_t>(d) : dot_panels<float>(d); }

// [groups of 16 ranks][steps of 32 rows][high | low] tiles of s^T: [16 ranks][32 rows].
int64_t outer_bytes(int64_t r) { return up(r, RANKS) / RANKS * STEPS * 2 * TILE; }

void transpose_s(const SplitOuter& o) {
  char* to = static_cast<char*>(o.parts);
  for (int64_t rank = 0; rank < o.r; rank += RANKS)
    for (int64_t row = 0; row < OUTER_ROWS; row += ELEMENTS, to += 2 * TILE) {
      __m512 high[2][16], low[2][16];
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) {
          const int64_t at = row + 16 * half + i;
          const __mmask16 m = at < o.rows ? first(o.r - rank) : __mmask16(0);
          const Parts parts = split(_mm512_maskz_loadu_ps(m, o.s + at * o.r + rank));
          high[half][i] = parts.high, low[half][i] = parts.low;
        }
        transpose(high[half]), transpose(low[half]);
      }
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        put(to + i * ROW, in_turn(high[0][i], high[1][i]));
        put(to + TILE + i * ROW, in_turn(low[0][i], low[1][i]));
      }
    }
}

template <typename T>
constexpr int64_t GROUP = LOW<T> ? 2 * TILE : TILE;  // bytes of 16 columns of a step, all parts
constexpr int64_t AHEAD = 24;                        // rows: what the first cache holds of a block

// Of tiles [steps][groups of 16 columns][high | low] of [16 pairs of rows][16 columns], a quarter: 16 rows. WHOLE: all
// of the block is there.
template <typename T, bool MASK, bool WHOLE>
inline void split_columns(const SplitOuter& o, int64_t column, int64_t quarter, char* to) {
  constexpr int64_t ROWS = OUTER_ROWS / QUARTERS;
  constexpr bool ALL = WHOLE && !MASK;
  const int64_t ldx = o.ldx, mask_stride = o.mask_stride, left = o.n - column, rows = o.rows;
  const T* x = static_cast<const T*>(o.x.data) + column;
  const uint8_t* mask = MASK ? o.mask + column / 8 : nullptr;
  for (int64_t row = quarter * ROWS; row < (quarter + 1) * ROWS; row += 2) {
    char* line = to + row / ELEMENTS * (COLUMNS / 16) * GROUP<T> + row % ELEMENTS / 2 * ROW;
    const T* from = x + row * ldx;
    const uint8_t* bits = MASK ? mask + row * mask_stride : nullptr;
    const T* ahead = from + (row + AHEAD < OUTER_ROWS ? AHEAD * ldx : (AHEAD - OUTER_ROWS) * ldx + COLUMNS);
#pragma GCC unroll 4
    for (int64_t g = 0; g < COLUMNS / 16; ++g) {
      Parts v[2];
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        __mmask16 m = WHOLE ? __mmask16(0xFFFF) : row + i < rows ? first(left - 16 * g) : __mmask16(0);
        if constexpr (MASK)
          if (WHOLE || m) m &= *reinterpret_cast<const uint16_t*>(bits + i * mask_stride + 2 * g);
        if (LOW<T> || g % 2 == 0)  // a line of the cache
          _mm_prefetch(reinterpret_cast<const char*>(ahead + i * ldx + 16 * g), _MM_HINT_T0);
        v[i] = load_columns<ALL>(from + i * ldx + 16 * g, m);
      }
      put(line + g * GROUP<T>, exact_pairs(v[0].high, v[1].high));
      if (LOW<T>) put(line + g * GROUP<T> + TILE, in_pairs(v[0].low, v[1].low));
    }
  }
}

// 16 ranks and 64 columns. Tiles: 0 to 3 sums; 4, 5 both parts of s; 6, 7 of x.
template <typename T>
struct OuterBlock {
  const char *s, *x;
  float* p;
  int64_t stride;  // bytes
  bool accumulate;

  void begin() const {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (!accumulate) return;
    settle(p);
    _tile_loadd(0, p, stride);
    _tile_loadd(1, p + 16, stride);
    _tile_loadd(2, p + 32, stride);
    _tile_loadd(3, p + 48, stride);
  }
  // Half of the columns of a step: quarters 0 and 1 are the first step's. Tiles are named by literals alone.
  void quarter(int64_t q) const {
    const char *from = x + q * 2 * GROUP<T>, *own = s + q / 2 * 2 * TILE;
    if (q % 2 == 0) {
      _tile_loadd(4, own, ROW);
      _tile_loadd(5, own + TILE, ROW);
      _tile_loadd(6, from, ROW);
      _tile_loadd(7, from + GROUP<T>, ROW);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(0, 5, 6);
      _tile_dpbf16ps(1, 5, 7);
      if (!LOW<T>) return;
      _tile_loadd(6, from + TILE, ROW);
      _tile_loadd(7, from + GROUP<T> + TILE, ROW);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
    } else {
      _tile_loadd(6, from, ROW);
      _tile_loadd(7, from + GROUP<T>, ROW);
      _tile_dpbf16ps(2, 4, 6);
      _tile_dpbf16ps(3, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
      if (!LOW<T>) return;
      _tile_loadd(6, from + TILE, ROW);
      _tile_loadd(7, from + GROUP<T> + TILE, ROW);
      _tile_dpbf16ps(2, 4, 6);
      _tile_dpbf16ps(3, 4, 7);
    }
  }
  void end() const {
    _tile_stored(0, p, stride);
    _tile_stored(1, p + 16, stride);
    _tile_stored(2, p + 32, stride);
    _tile_stored(3, p + 48, stride);
    settle(p);
  }
};

template <typename T, bool MASK>
void outer_blocks(const SplitOuter& o) {
  alignas(64) char parts[2][STEPS * COLUMNS / 16 * GROUP<T>];
  const char* s = static_cast<const char*>(o.parts);
  const int64_t blocks = up(o.n, COLUMNS) / COLUMNS;
  for (int64_t block = 0; block <= blocks; ++block) {
    char *now = parts[block % 2], *before = parts[(block + 1) % 2];
    const int64_t column = block * COLUMNS;
    const bool whole = o.rows == OUTER_ROWS && column + COLUMNS <= o.n;
    OuterBlock<T> sums = {s, before, o.p + column - COLUMNS, 4 * o.ldp, o.accumulate};
    if (block > 0) sums.begin();
    for (int64_t quarter = 0; quarter < QUARTERS; ++quarter) {
      if (block < blocks)
        whole ? split_columns<T, MASK, true>(o, column, quarter, now)
              : split_columns<T, MASK, false>(o, column, quarter, now);
      if (block > 0) sums.quarter(quarter);
    }
    if (block > 0) sums.end();
    for (int64_t rank = RANKS; block > 0 && rank < o.r; rank += RANKS) {
      sums.s += STEPS * 2 * TILE, sums.p += RANKS * o.ldp;
      sums.begin();
      for (int64_t quarter = 0; quarter < QUARTERS; ++quarter) sums.quarter(quarter);
      sums.end();
    }
    settle(parts);
  }
}

void outer(const SplitOuter& o) {
  transpose_s(o);
  settle(o.parts);
  if (o.x.bf16) o.mask ? outer_blocks<uint16_t, true>(o) : outer_blocks<uint16_t, false>(o);
  else o.mask ? outer_blocks<float, true>(o) : outer_blocks<float, false>(o);
}

}  // namespace

const SplitThin thin_amx = {packed_bytes, pack, dot, outer_bytes, outer};

}  // namespace lowrank::cpu::gemm
