#pragma once
// Which kernel makes a product, and of which units.
#include "core/kernels.h"
#include "cpu/gemm/kernel.h"
#include "cpu/isa.h"

namespace lowrank::cpu::gemm {

struct Choice {
  const Kernel* kernel;
  Unit unit;
};

inline Choice choose(Compute compute) {
  const Unit bf16 = compute == Compute::BF16 ? Unit::Rounded : Unit::F32;
#if defined(__x86_64__)
  switch (isa()) {
    case Isa::Amx:
      if (compute == Compute::BF16) return {&kernel_amx, Unit::Pairs};
      return {&kernel_wide, Unit::F32};
    case Isa::Avx512Bf16:
      if (compute == Compute::BF16) return {&kernel_avx512bf16, Unit::Pairs};
      return {&kernel_avx512, Unit::F32};
    case Isa::Avx512: return {&kernel_avx512, bf16};
    case Isa::Avx2: return {&kernel_avx2, bf16};
    default: break;
  }
#elif defined(__aarch64__)
  if (isa() == Isa::NeonBf16 && compute == Compute::BF16) return {&kernel_neonbf16, Unit::Pairs};
  if (isa() != Isa::Portable) return {&kernel_neon, bf16};
#endif
  return {&kernel_portable, bf16};
}

}  // namespace lowrank::cpu::gemm
