#pragma once
// Copies that announce themselves at an mbarrier: a producer of cp.async beside, or instead of, TMA.

#include "cuda/ptx.cuh"

namespace lowrank::ptx {

// cp.async.mbarrier.arrive.noinc: when all earlier cp.async of this thread are complete, it arrives at the mbarrier,
// which has to count that arrival. The thread need not wait for them itself.
PTX_FN void cp_async_mbarrier_arrive(uint32_t at PTX_AND_SITE) {
  PTX(asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(at)
                   : "memory"),
      emulator::cp_async_arrive(at, site));
}

}  // namespace lowrank::ptx
