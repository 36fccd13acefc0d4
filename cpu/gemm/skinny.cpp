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

}  // namespace lowrank::cpu::gemm
