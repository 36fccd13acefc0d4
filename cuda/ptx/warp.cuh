#pragma once
// Shuffles and votes of a whole warp, and fences. The reports of the emulator name the caller's line.

#include "cuda/ptx/base.cuh"

namespace lowrank::ptx {

// shfl.sync.idx, .up, .down, .bfly: lanes without a source keep their value.
template <typename T>
PTX_FN T shuffle(T value, int lane PTX_AND_SITE) {
  return PTX(__shfl_sync(~0u, value, lane), __shfl_sync(~0u, value, lane, 32, site));
}
template <typename T>
PTX_FN T shuffle_up(T value, unsigned by PTX_AND_SITE) {
  return PTX(__shfl_up_sync(~0u, value, by), __shfl_up_sync(~0u, value, by, 32, site));
}
template <typename T>
PTX_FN T shuffle_down(T value, unsigned by PTX_AND_SITE) {
  return PTX(__shfl_down_sync(~0u, value, by), __shfl_down_sync(~0u, value, by, 32, site));
}
template <typename T>
PTX_FN T shuffle_xor(T value, int lanes PTX_AND_SITE) {
  return PTX(__shfl_xor_sync(~0u, value, lanes), __shfl_xor_sync(~0u, value, lanes, 32, site));
}
// vote.sync.ballot, .any, .all
PTX_FN uint32_t ballot(bool p PTX_AND_SITE) { return PTX(__ballot_sync(~0u, p), __ballot_sync(~0u, p, site)); }
PTX_FN bool any(bool p PTX_AND_SITE) { return PTX(__any_sync(~0u, p) != 0, __any_sync(~0u, p, site)); }
PTX_FN bool all(bool p PTX_AND_SITE) { return PTX(__all_sync(~0u, p) != 0, __all_sync(~0u, p, site)); }

// elect.sync: true in one lane of the warp, always the same.
PTX_FN bool elect_one(PTX_SITE) {
  uint32_t elected = 0;
  PTX_SM90(asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.u32 %0, 1, 0, p;\n}"
                        : "=r"(elected)),
           elected = emulator::elect_one(site));
  return elected != 0;
}

// membar.cta, membar.gl: this thread's earlier writes are seen before its later ones, by its block or by the device.
PTX_FN void membar_block() { __threadfence_block(); }
PTX_FN void membar_device() { __threadfence(); }

}  // namespace lowrank::ptx
