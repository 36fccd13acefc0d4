#pragma once
// Between the blocks of a cluster, beyond what cuda/ptx.cuh has.

#include "cuda/ptx.cuh"

namespace lowrank::ptx {

// mbarrier.arrive at an address of map_shared(), which orders nothing for the other block: says that wgmma or ldmatrix
// have read a stage, not that anything was written. mbarrier_arrive_remote() does, and fences the whole device for it.
PTX_FN void mbarrier_arrive_read(uint32_t at PTX_AND_SITE) {
  PTX_SM90(asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(at)
                        : "memory"),
           emulator::mbarrier_arrive(at, 1, 0, site));
}

}  // namespace lowrank::ptx
