// f32 products where there is AMX, whose processors have 2 MB of L2 cache: 6x64 tiles, 24 accumulators, 10 loads for
// 24 multiply-adds. A step takes 256 bytes of b, which the processor's own prefetcher brings from that cache in time;
// tiles fetch the next panel of b, a line every other step. Rows of a are read where they lie: six streams, which need
// no packing. Sums are those of the 14x32 tiles, bit for bit.
#include "cpu/gemm/avx512.h"

namespace lowrank::cpu::gemm {
namespace {

constexpr int ROWS = 6, COLUMNS = 64;
constexpr int STEPS = 2;                            // of K, beside each other
constexpr double PACK_COST = 0.2, LOAD_COST = 0.5;  // nothing is packed, but it comes from memory

template <Unit UNIT>
void pack_units(const Pack& p) {
  if (p.width == COLUMNS) {
    if (p.along_k) return p.bf16 ? pack_along_k<true, UNIT, COLUMNS>(p) : pack_along_k<false, UNIT, COLUMNS>(p);
    return p.bf16 ? pack_across<true, UNIT, COLUMNS>(p) : pack_across<false, UNIT, COLUMNS>(p);
  }
  if (p.along_k) return p.bf16 ? pack_along_k<true, UNIT, ROWS>(p) : pack_along_k<false, UNIT, ROWS>(p);
  p.bf16 ? pack_across<true, UNIT, ROWS>(p) : pack_narrow<ROWS>(p);
}

void pack(const Pack& p) { pack_units<Unit::F32>(p); }

// Row i of a: at a[i * ld], a step apart by 1, or at a[i], a step apart by ROWS.
template <int R, int V, bool IN_PLACE>
struct Loop {
  __m512 (&acc)[R][V];
  const float *a, *b;
  int64_t ld;

  template <int N>
  inline __attribute__((always_inline)) void steps() {
    const float* upper = a + 3 * ld;
#pragma GCC unroll 2
    for (int u = 0; u < N; ++u) {
      __m512 w[V];
#pragma GCC unroll 4
      for (int j = 0; j < V; ++j) w[j] = _mm512_loadu_ps(b + u * COLUMNS + 16 * j);
#pragma GCC unroll 6
      for (int i = 0; i < R; ++i) {
        const float* at = IN_PLACE ? (i < 3 ? a + i * ld : upper + (i - 3) * ld) + u : a + u * ROWS + i;
        const __m512 x = _mm512_set1_ps(*at);
#pragma GCC unroll 4
        for (int j = 0; j < V; ++j) acc[i][j] = _mm512_fmadd_ps(x, w[j], acc[i][j]);
      }
    }
    a += IN_PLACE ? N : N * ROWS;
    b += N * COLUMNS;
  }

  inline __attribute__((always_inline)) void run(int64_t count, const char* next, int64_t lines) {
    int64_t k = 0;
    for (const int64_t end = lines * STEPS < count ? lines * STEPS : count / STEPS * STEPS; k < end; k += STEPS) {
      _mm_prefetch(next, _MM_HINT_T1);
      next += 64;
      steps<STEPS>();
    }
    for (; k + STEPS <= count; k += STEPS) steps<STEPS>();
    for (; k < count; ++k) steps<1>();
  }
};

template <int R, int V, bool IN_PLACE>
void wide_tile(const Tile& t) {
  __m512 acc[R][V];
#pragma GCC unroll 6
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) {
      acc[i][j] = _mm512_setzero_ps();
      _mm_prefetch(reinterpret_cast<const char*>(t.c + i * t.ldc + 16 * j), _MM_HINT_T0);
    }
  if (t.slab) {
    Loop<R, V, false>{acc, t.slab_a, t.slab_b, 0}.run(t.slab, nullptr, 0);
    if (t.mask) drop<R, V>(t, acc);
  }
  Loop<R, V, IN_PLACE>{acc, static_cast<const float*>(t.a), static_cast<const float*>(t.b), t.lda}.run(
      t.units, static_cast<const char*>(t.next_b), t.next_lines);
  store_all<R, V>(t, acc);
}

template <int R, bool IN_PLACE>
void wide_rows(const Tile& t) {
  if (t.cols > 48) return wide_tile<R, 4, IN_PLACE>(t);
  if (t.cols > 32) return wide_tile<R, 3, IN_PLACE>(t);
  t.cols > 16 ? wide_tile<R, 2, IN_PLACE>(t) : wide_tile<R, 1, IN_PLACE>(t);
}

template <bool IN_PLACE>
void wide_any(const Tile& t) {
  switch (t.rows) {
    case 1: return wide_rows<1, IN_PLACE>(t);
    case 2: return wide_rows<2, IN_PLACE>(t);
    case 3: return wide_rows<3, IN_PLACE>(t);
    case 4: return wide_rows<4, IN_PLACE>(t);
    case 5: return wide_rows<5, IN_PLACE>(t);
    default: return wide_rows<6, IN_PLACE>(t);
  }
}

void tile(const Tile& t) { t.lda ? wide_any<true>(t) : wide_any<false>(t); }

}  // namespace

const Kernel kernel_wide = {ROWS, COLUMNS, pack, tile, PACK_COST, LOAD_COST, 0, 1, false, nullptr, nullptr, true};

}  // namespace lowrank::cpu::gemm
