#pragma once
// cp.async: copies of a thread from global to shared memory.

#include "cuda/ptx/base.cuh"

namespace lowrank::ptx {

// cp.async.ca of 4 or 8 bytes, cp.async.cg of 16: `valid` bytes from global memory, zeros after them.
template <int Bytes>
PTX_FN void cp_async(uint32_t to, const void* from, int valid = Bytes PTX_AND_SITE) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  if constexpr (Bytes == 16) {
    PTX(asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid)
                     : "memory"),
        emulator::cp_async(to, from, 16, valid, site));
  } else {
    PTX(asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(Bytes), "r"(valid)
                     : "memory"),
        emulator::cp_async(to, from, Bytes, valid, site));
  }
}
// cp.async.commit_group
PTX_FN void cp_async_commit() { PTX(asm volatile("cp.async.commit_group;" ::: "memory"), emulator::cp_async_commit()); }
// cp.async.wait_group: at most `Pending` of this thread's newest groups are still in flight.
template <int Pending>
PTX_FN void cp_async_wait() {
  PTX(asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory"), emulator::cp_async_wait(Pending));
}
// cp.async.mbarrier.arrive.noinc: when all earlier cp.async of this thread are complete, it arrives at the mbarrier,
// which has to count that arrival. The thread need not wait for them itself.
PTX_FN void cp_async_mbarrier_arrive(uint32_t at PTX_AND_SITE) {
  PTX(asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(at)
                   : "memory"),
      emulator::cp_async_arrive(at, site));
}

}  // namespace lowrank::ptx
