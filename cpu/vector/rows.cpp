#include "cpu/vector/rows.h"

#include "cpu/isa.h"

namespace lowrank::cpu {

const RowKernels& row_kernels() {
#if defined(__x86_64__)
  switch (isa()) {
    case Isa::Amx:
    case Isa::Avx512Bf16:
    case Isa::Avx512: return avx512::row_kernels;
    case Isa::Avx2: return avx2::row_kernels;
    default: break;
  }
#elif defined(__aarch64__)
  if (isa() != Isa::Portable) return neon::row_kernels;
#endif
  return portable::row_kernels;
}

}  // namespace lowrank::cpu
