// bf16 products with f32 accumulation: vdpbf16ps takes two steps of K at once. Slabs stay f32.
#include "cpu/gemm/avx512.h"

namespace lowrank::cpu::gemm {
namespace {

void pack(const Pack& p) {
  if (p.unit == Unit::F32) return p.bf16 ? pack_typed<true, Unit::F32>(p) : pack_typed<false, Unit::F32>(p);
  p.bf16 ? pack_typed<true, Unit::Pairs>(p) : pack_typed<false, Unit::Pairs>(p);
}

}  // namespace

const Kernel kernel_avx512bf16 = {MR, NR, pack, tile_any<true>};

}  // namespace lowrank::cpu::gemm
