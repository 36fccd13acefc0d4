#pragma once
// Shuffles and votes of a whole warp. The reports of the emulator name the caller's line.

#include "cuda/ptx/base.cuh"

namespace lowrank::ptx {

// shfl.sync.idx, .up, .bfly: lanes without a source keep their value.
template <typename T>
PTX_FN T shuffle(T value, int lane PTX_AND_SITE) {
  return PTX(__shfl_sync(~0u, value, lane), __shfl_sync(~0u, value, lane, 32, site));
}
template <typename T>
PTX_FN T shuffle_up(T value, unsigned by PTX_AND_SITE) {
  return PTX(__shfl_up_sync(~0u, value, by), __shfl_up_sync(~0u, value, by, 32, site));
}
template <typename T>
PTX_FN T shuffle_xor(T value, int lanes PTX_AND_SITE) {
  return PTX(__shfl_xor_sync(~0u, value, lanes), __shfl_xor_sync(~0u, value, lanes, 32, site));
}
// vote.sync.ballot
PTX_FN uint32_t ballot(bool p PTX_AND_SITE) { return PTX(__ballot_sync(~0u, p), __ballot_sync(~0u, p, site)); }

}  // namespace lowrank::ptx
