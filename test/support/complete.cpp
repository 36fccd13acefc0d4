// Holds the address of every kernel that core/kernels.h promises: a missing one is a link error that names it.

#include "core/kernels.h"

namespace {

using Address = void (*)();

#define LOWRANK_CPU_ADDRESS(name, args) reinterpret_cast<Address>(&lowrank::cpu::name),
#define LOWRANK_CUDA_ADDRESS(name, args) reinterpret_cast<Address>(&lowrank::cuda::name),

// Volatile: the optimiser may not drop a reference.
const volatile Address kernels[] = {LOWRANK_KERNELS(LOWRANK_CPU_ADDRESS)
#ifdef LOWRANK_HAS_CUDA
                                        LOWRANK_KERNELS(LOWRANK_CUDA_ADDRESS)
#endif
};

}  // namespace

int main() {
  for (const volatile Address& kernel : kernels)
    if (!kernel) return 1;
  return 0;
}
