// f32 products on NEON: 12x8 tiles, 24 accumulators, 5 loads for 24 multiply-adds by a lane.
#include "cpu/gemm/neon.h"

namespace lowrank::cpu::gemm {
namespace {

void pack(const Pack& p) {
  if (p.unit == Unit::F32) return p.bf16 ? pack_typed<true, Unit::F32>(p) : pack_typed<false, Unit::F32>(p);
  p.bf16 ? pack_typed<true, Unit::Rounded>(p) : pack_typed<false, Unit::Rounded>(p);
}

template <int R>
void tile_of(const Tile& t) {
  float32x4_t acc[R][2];
  add_slab<R>(t, acc);
  multiply_f32<R>(acc, static_cast<const float*>(t.a), static_cast<const float*>(t.b), t.units);
  store<R>(t, acc);
}

void tile(const Tile& t) { t.rows > 8 ? tile_of<12>(t) : t.rows > 4 ? tile_of<8>(t) : tile_of<4>(t); }

}  // namespace

const Kernel kernel_neon = {MR, NR, pack, tile};

}  // namespace lowrank::cpu::gemm
