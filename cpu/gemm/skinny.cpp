// Thin products straight from memory, by the chosen instruction set.
#include <algorithm>

#include "cpu/gemm/cut.h"
#include "cpu/gemm/gemm.h"
#include "cpu/isa.h"

namespace lowrank::cpu::gemm {

const Skinny& skinny() {
#if defined(__x86_64__)
  if (isa() >= Isa::Avx512) return skinny_avx512;
  if (isa() == Isa::Avx2) return skinny_avx2;
#elif defined(__aarch64__)
  if (isa() != Isa::Portable) return skinny_neon;
#endif
  return skinny_portable;
}

const SplitThin* thin_on_tiles(Compute compute) {
#if defined(__x86_64__)
  if (compute == Compute::BF16 && isa() == Isa::Amx) return &thin_amx;
#endif
  return nullptr;
}

void parallel_dot(const Dot& d) {
  const bool by_rows = d.m >= d.n;
  const int64_t extent = by_rows ? d.m : d.n, flops = 2 * d.m * d.n * d.k;
  const int64_t pieces = std::clamp<int64_t>(std::min(flops / (PIECE_FLOPS / 4), ceil_div(extent, 64)), 1, 64);
  const Skinny& thin = skinny();
  parallel_for(pieces, [&](int64_t piece) {
    const int64_t quads = ceil_div(extent, 4);
    const int64_t from = part(quads, piece, pieces) * 4, to = std::min(part(quads, piece + 1, pieces) * 4, extent);
    Dot mine = d;
    if (by_rows) {
      mine.m = to - from;
      mine.x += from * d.ldx;
      mine.y += from * d.ldy;
      if (d.mask) mine.mask += from * d.mask_stride;
    } else {
      mine.n = to - from;
      mine.w = static_cast<const char*>(d.w) + from * d.ldw * (d.w_bf16 ? 2 : 4);
      mine.y += from;
      if (d.bias) mine.bias += from;
    }
    if (from < to) thin.dot(mine);
  });
}

namespace {

constexpr int64_t THIN_DOT_ROWS = 32, THIN_DOT_COLUMNS = 16, THIN_OUTER = 64;

// Columns are cut, so that each element is summed over the rows in their order by one thread; few rows at a time, which
// stay in the first caches while their columns pass by.
void parallel_outer(const Outer& o) {
  constexpr int64_t ROWS = 16, COLUMNS = 256;
  const int64_t most = std::min<int64_t>(ceil_div(o.n, COLUMNS), threads());
  const int64_t pieces = std::clamp<int64_t>(2 * o.rows * o.n * o.r / (PIECE_FLOPS / 4), 1, most);
  const Skinny& thin = skinny();
  parallel_for(pieces, [&](int64_t piece) {
    const int64_t blocks = ceil_div(o.n, 32);
    const int64_t from = part(blocks, piece, pieces) * 32, to = std::min(part(blocks, piece + 1, pieces) * 32, o.n);
    for (int64_t row = 0; row < o.rows || row == 0; row += ROWS) {
      Outer mine = o;
      mine.s += row * o.r, mine.x += row * o.ldx + from, mine.p += from;
      mine.n = to - from, mine.rows = std::min(ROWS, o.rows - row);
      mine.accumulate = row > 0;
      thin.outer(mine);
    }
  });
}

}  // namespace

bool multiply_thin(const Product& p) {
  if (p.compute != Compute::F32 || p.slab.r || p.a.bf16 || p.b.quantized || p.rounded) return false;
  const auto* a = static_cast<const float*>(p.a.data);
  if (p.a.along_k && p.b.along_k && (p.n <= THIN_DOT_COLUMNS || p.m <= THIN_DOT_ROWS)) {
    parallel_dot({a, p.a.ld, nullptr, 0, p.b.data, p.b.bf16, p.b.ld, p.c, p.n, 1.0f, p.bias, p.m, p.n, p.k});
    return true;
  }
  if (p.a.along_k || p.b.along_k || p.b.bf16 || p.m > THIN_OUTER || p.a.ld != p.m || p.bias) return false;
  parallel_outer({a, p.m, static_cast<const float*>(p.b.data), p.b.ld, nullptr, 0, p.c, p.n, false, p.k, p.n});
  return true;
}

}  // namespace lowrank::cpu::gemm
