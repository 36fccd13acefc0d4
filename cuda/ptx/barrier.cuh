#pragma once
// Barriers of a block and of a cluster, and what makes writes visible to others.

#include <cstdio>

#include "cuda/ptx/base.cuh"

namespace lowrank::ptx {

// ---- fences

// fence.proxy.async: generic writes to shared memory become visible to TMA and wgmma.
PTX_FN void fence_proxy_async() {
  PTX_SM90(asm volatile("fence.proxy.async.shared::cta;" ::: "memory"), emulator::fence_proxy_async());
}
// fence.mbarrier_init: after mbarrier_init, before other threads, blocks or TMA use it.
PTX_FN void fence_mbarrier_init() {
  PTX_SM90(asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"), emulator::fence_mbarrier_init());
}

// ---- kernels that overlap (Launch::overlaps)

// griddepcontrol.wait: the kernels ahead in the stream are complete, and what they wrote is visible. By every thread,
// before it touches memory of the device. Nothing where the launch does not overlap.
PTX_FN void wait_for_kernels(PTX_SITE) {
  PTX_SM90(asm volatile("griddepcontrol.wait;" ::: "memory"), emulator::wait_for_kernels(site));
}
// griddepcontrol.launch_dependents: once all blocks have said so, the next kernel's may come and wait.
PTX_FN void let_next_kernel_start() {
  PTX_SM90(asm volatile("griddepcontrol.launch_dependents;" ::: "memory"), (void)0);
}

// ---- barriers

// bar.sync: `Threads` threads meet. Id 0 is __syncthreads.
template <int Id, int Threads>
PTX_FN void barrier_sync(PTX_SITE) {
  static_assert(Id > 0 && Id < 16 && Threads % 32 == 0);
  PTX(asm volatile("bar.sync %0, %1;" ::"n"(Id), "n"(Threads) : "memory"), emulator::barrier_sync(Id, Threads, site));
}
// mbarrier.init: a phase is complete after `count` arrivals and all expected bytes. 8 bytes, 8-aligned.
PTX_FN void mbarrier_init(uint32_t at, uint32_t count PTX_AND_SITE) {
  PTX(asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(at), "r"(count)
                   : "memory"),
      emulator::mbarrier_init(at, count, site));
}
// mbarrier.arrive
PTX_FN void mbarrier_arrive(uint32_t at, uint32_t count = 1 PTX_AND_SITE) {
  PTX_SM90(asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(count)
                        : "memory"),
           emulator::mbarrier_arrive(at, count, 0, site));
}
// mbarrier.arrive at an address of map_shared(), which orders nothing for the other block: says that wgmma or ldmatrix
// have read a stage, not that anything was written: .release.cluster would, and fence the whole device for it.
PTX_FN void mbarrier_arrive_read(uint32_t at PTX_AND_SITE) {
  PTX_SM90(asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(at)
                        : "memory"),
           emulator::mbarrier_arrive(at, 1, 0, site));
}
// mbarrier.arrive.expect_tx
PTX_FN void mbarrier_arrive_expect(uint32_t at, uint32_t bytes PTX_AND_SITE) {
  PTX_SM90(asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes)
                        : "memory"),
           emulator::mbarrier_arrive(at, 1, bytes, site));
}
// mbarrier.try_wait.parity: whether the phase of this parity is complete; may give up early.
PTX_FN bool mbarrier_try_wait(uint32_t at, uint32_t parity PTX_AND_SITE) {
  uint32_t done = 0;
  PTX_SM90(asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                        "selp.u32 %0, 1, 0, p;\n}"
                        : "=r"(done)
                        : "r"(at), "r"(parity)
                        : "memory"),
           done = emulator::mbarrier_try_wait(at, parity, site));
  return done != 0;
}
// Waits for the phase of this parity. With LOWRANK_BOUNDED_WAIT, of programs that test, a phase that isn't complete
// after 2^34 clocks, about 10 s, is reported and ends the kernel; else it would never end.
#if defined(__CUDACC__) && defined(LOWRANK_BOUNDED_WAIT)
static __device__ __noinline__ void mbarrier_report(uint32_t at, uint32_t parity) {
  printf("stuck: block (%u,%u,%u) thread %u waits at the mbarrier at 0x%x for parity %u\n", blockIdx.x, blockIdx.y,
         blockIdx.z, threadIdx.x, at, parity);
  __trap();
}
PTX_FN void mbarrier_wait(uint32_t at, uint32_t parity) {
  for (const long long begin = clock64(); !ptx::mbarrier_try_wait(at, parity);)
    if (clock64() - begin > (1ll << 34)) mbarrier_report(at, parity);
}
#else
PTX_FN void mbarrier_wait(uint32_t at, uint32_t parity PTX_AND_SITE) {
  PTX(while (!ptx::mbarrier_try_wait(at, parity)) continue, emulator::mbarrier_wait(at, parity, site));
}
#endif

// ---- clusters

// %cluster_ctarank
PTX_FN uint32_t cluster_rank() {
  uint32_t rank = 0;
  PTX_SM90(asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank)), rank = emulator::cluster_rank());
  return rank;
}
// barrier.cluster.arrive and .wait: all threads of all blocks of the cluster.
PTX_FN void cluster_arrive(PTX_SITE) {
  PTX_SM90(asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"), emulator::cluster_arrive(site));
}
PTX_FN void cluster_wait(PTX_SITE) {
  PTX_SM90(asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"), emulator::cluster_wait(site));
}
PTX_FN void cluster_sync(PTX_SITE) {
  PTX((ptx::cluster_arrive(), ptx::cluster_wait()), (ptx::cluster_arrive(site), ptx::cluster_wait(site)));
}
// mapa: the address of the same place in the shared memory of the block of that rank.
PTX_FN uint32_t map_shared(uint32_t at, uint32_t rank PTX_AND_SITE) {
  uint32_t mapped = 0;
  PTX_SM90(asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
                        : "=r"(mapped)
                        : "r"(at), "r"(rank)),
           mapped = emulator::map_shared(at, rank, site));
  return mapped;
}

}  // namespace lowrank::ptx
