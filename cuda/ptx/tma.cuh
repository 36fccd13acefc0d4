#pragma once
// TMA: boxes of a tensor map (cuda/tensor_map.cuh), whose coordinates begin with the innermost. Outside the tensor
// loads give zeros and stores do nothing. With a swizzle of S bytes, the box begins at a multiple of 8 S.

#include "cuda/ptx/base.cuh"

namespace lowrank::ptx {

#define PTX_TMA_OPERANDS                                                                                               \
  ::"r"(shared), "l"(map), "r"(uint32_t(barrier)), "h"(ranks), "r"(c0), "r"(c1), "r"(c2) : "memory"
#define PTX_TMA_LOAD(dim, at)                                                                                          \
  asm volatile("cp.async.bulk.tensor." dim                                                                             \
               ".shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "                                      \
               "[%1, {" at "}], [%2];" PTX_TMA_OPERANDS)
#define PTX_TMA_MULTICAST(dim, at)                                                                                     \
  asm volatile("cp.async.bulk.tensor." dim                                                                             \
               ".shared::cluster.global.tile.mbarrier::complete_tx::bytes"                                             \
               ".multicast::cluster [%0], [%1, {" at "}], [%2], %3;" PTX_TMA_OPERANDS)
#define PTX_TMA_STORE(dim, at)                                                                                         \
  asm volatile("cp.async.bulk.tensor." dim ".global.shared::cta.tile.bulk_group [%1, {" at                             \
               "}], "                                                                                                  \
               "[%0];" PTX_TMA_OPERANDS)
#define PTX_TMA(instruction)                                                                                           \
  if constexpr (Rank == 1) instruction("1d", "%4");                                                                    \
  else if constexpr (Rank == 2) instruction("2d", "%4, %5");                                                           \
  else instruction("3d", "%4, %5, %6")

// cp.async.bulk.tensor, global to shared; the barrier's phase owes the bytes of the whole box.
template <int Rank>
PTX_FN void tma_load(uint32_t shared, const TensorMap* map, uint32_t barrier, int c0, int c1 = 0,
                     int c2 = 0 PTX_AND_SITE) {
  [[maybe_unused]] constexpr uint16_t ranks = 0;
  PTX_SM90(PTX_TMA(PTX_TMA_LOAD), emulator::tma_load(shared, map, {Rank, {c0, c1, c2}}, barrier, 0, site));
}
// The same box to the same place in every block of the bit mask `ranks`, each with its own barrier; sm_90a.
template <int Rank>
PTX_FN void tma_load_multicast(uint32_t shared, const TensorMap* map, uint32_t barrier, uint16_t ranks, int c0,
                               int c1 = 0, int c2 = 0 PTX_AND_SITE) {
  PTX_SM90A(PTX_TMA(PTX_TMA_MULTICAST), emulator::tma_load(shared, map, {Rank, {c0, c1, c2}}, barrier, ranks, site));
}
// cp.async.bulk.tensor, shared to global, after fence_proxy_async.
template <int Rank>
PTX_FN void tma_store(const TensorMap* map, uint32_t shared, int c0, int c1 = 0, int c2 = 0 PTX_AND_SITE) {
  [[maybe_unused]] constexpr uint16_t ranks = 0, barrier = 0;
  PTX_SM90(PTX_TMA(PTX_TMA_STORE), emulator::tma_store(map, {Rank, {c0, c1, c2}}, shared, site));
}
// cp.async.bulk.commit_group; .wait_group: the newest `Pending` groups may not have been written yet; with .read, they
// may still be read from shared memory.
PTX_FN void tma_commit() { PTX_SM90(asm volatile("cp.async.bulk.commit_group;" ::: "memory"), emulator::tma_commit()); }
template <int Pending>
PTX_FN void tma_wait_read() {
  PTX_SM90(asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(Pending) : "memory"), emulator::tma_wait(Pending));
}

}  // namespace lowrank::ptx
