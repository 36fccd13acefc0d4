#pragma once
// The defects that the self-test of the emulator injects, by kernel. A kernel is given one of them, or None.

#define LOWRANK_DEFECTS(D)                                                                                             \
  /* product by cp.async, ldmatrix, mma.sync */                                                                        \
  D(MmaNoBarrier, "no barrier between the stages")                                                                     \
  D(MmaWaitTooLax, "cp.async.wait_group one group too lax")                                                            \
  D(MmaRefillsLiveStage, "refills the stage that is being read")                                                       \
  D(MmaSwizzleOffByOne, "swizzle off by one where it is read")                                                         \
  D(MmaFragments, "fragments of B interchanged")                                                                       \
  D(MmaDivergentBarrier, "__syncthreads in one warp only")                                                             \
  D(MmaOutOfBounds, "writes one row past the end")                                                                     \
  /* product by TMA, mbarrier ring, wgmma, TMA store */                                                                \
  D(RingEmptyCount, "empty barriers expect too few arrivals")                                                          \
  D(RingNoInitFence, "no fence after mbarrier.init")                                                                   \
  D(RingNoInitBarrier, "no barrier after mbarrier.init")                                                               \
  D(RingProducerWait, "producer does not wait for empty")                                                              \
  D(RingConsumerWait, "consumers do not wait for full")                                                                \
  D(RingParity, "consumers wait for the wrong parity")                                                                 \
  D(RingExpectBytes, "expects the bytes of one operand only")                                                          \
  D(RingCoordinates, "coordinates of B interchanged")                                                                  \
  D(RingStride, "descriptor with half the stride")                                                                     \
  D(RingSwizzle, "descriptor of another swizzle")                                                                      \
  D(RingNoWgmmaFence, "no wgmma.fence")                                                                                \
  D(RingEarlyRelease, "stage released before the wgmma wait")                                                          \
  D(RingOneWarpReleases, "stage released before all warps are done")                                                   \
  D(RingReadsAccumulators, "accumulators read before the wait")                                                        \
  D(RingNoProxyFence, "no fence.proxy.async before the TMA store")                                                     \
  D(RingOneLaneFences, "fence.proxy.async by one lane only")                                                           \
  D(RingNoStoreBarrier, "no barrier before the TMA store")                                                             \
  D(RingNoStoreWait, "TMA store never waited for")                                                                     \
  D(RingBarrierCount, "named barrier of the wrong count")                                                              \
  D(RingNoKernelWait, "TMA before griddepcontrol.wait")                                                                \
  /* ring of cp.async, whose copies arrive at mbarriers */                                                             \
  D(CopiesNoArrival, "no cp.async.mbarrier.arrive")                                                                    \
  D(CopiesPlainArrival, "mbarrier.arrive, which waits for no copy, in its place")                                      \
  D(CopiesArrivalTooSoon, "cp.async.mbarrier.arrive before the last copy")                                             \
  D(CopiesFullCount, "full barriers expect half of the arrivals")                                                      \
  D(CopiesTwice, "two copies to one place in flight")                                                                  \
  /* layer norm */                                                                                                     \
  D(NormShortTree, "shuffle tree one step short")                                                                      \
  D(NormNoBarrier, "no barrier after the warps' sums")                                                                 \
  D(NormReadsTooEarly, "reads x before griddepcontrol.wait")                                                           \
  D(NormNoKernelWait, "no griddepcontrol.wait in the last warp")                                                       \
  D(NormOutOfBounds, "writes one column to the right")                                                                 \
  /* sum over blocks */                                                                                                \
  D(SumWarpSynchronous, "no barriers within a warp's tree")                                                            \
  /* attention by wgmma, P in registers */                                                                             \
  D(AttentionNoBarrier, "no barrier before a buffer is refilled")                                                      \
  D(AttentionStep, "V stepped as if it were K-major")                                                                  \
  D(AttentionNoWait, "scores read before the wait")                                                                    \
  /* what the emulator does not see */                                                                                 \
  D(SumNotAtomic, "plain addition to a sum of all blocks")                                                             \
  D(SumNoFence, "no __threadfence before the counter")

enum class Defect {
  None,
#define LOWRANK_DEFECT(name, text) name,
  LOWRANK_DEFECTS(LOWRANK_DEFECT)
#undef LOWRANK_DEFECT
};

// Runs the kernel that a defect belongs to, and compares; throws where something is wrong.
void run_mma(Defect defect);
void run_ring(Defect defect);
void run_copies(Defect defect);
void run_norm(Defect defect);
void run_sum(Defect defect);
void run_attention(Defect defect);
