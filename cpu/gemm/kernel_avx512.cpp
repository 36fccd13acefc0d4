// f32 products on AVX-512: 14x32 tiles, 28 accumulators, 16 loads for 28 multiply-adds.
#include "cpu/gemm/avx512.h"

namespace lowrank::cpu::gemm {
namespace {

void pack(const Pack& p) {
  if (p.unit == Unit::F32) return p.bf16 ? pack_typed<true, Unit::F32>(p) : pack_typed<false, Unit::F32>(p);
  p.bf16 ? pack_typed<true, Unit::Rounded>(p) : pack_typed<false, Unit::Rounded>(p);
}

}  // namespace

const Kernel kernel_avx512 = {MR, NR, pack, tile_any<false>};

}  // namespace lowrank::cpu::gemm
