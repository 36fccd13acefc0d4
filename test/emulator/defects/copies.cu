// A warp of cp.async feeds a ring of mbarriers, where its copies announce themselves, and another warp takes them with
// the lanes reversed; with defects on demand.

#include "cuda/conformance/case.cuh"
#include "test/emulator/defects/defects.h"

namespace {

using namespace lowrank;
using conformance::DeviceArray;

constexpr int STAGES = 2, STEPS = 7, HALVES = 2;  // of what a lane copies in a step

struct Ring {
  Array<int, STAGES, HALVES, 32> pieces;
  Array<uint64_t, STAGES> full, empty;
};

__device__ void announce(uint32_t full, Defect defect) {
  if (defect == Defect::CopiesPlainArrival) ptx::mbarrier_arrive(full);
  else if (defect != Defect::CopiesNoArrival) ptx::cp_async_mbarrier_arrive(full);
}

__device__ void produce(Ring& ring, const int* x, Defect defect) {
  const int lane = int(threadIdx.x);
  for (int step = 0; step < STEPS; ++step) {
    const int s = step % STAGES, round = step / STAGES;
    if (round > 0) ptx::mbarrier_wait(ptx::shared_address(&ring.empty[s]), uint32_t(round - 1) % 2);
    // No copy is in flight when its place is refilled, and none is left behind: a wrong arrival is left to who reads.
    ptx::cp_async_wait<STAGES - 1>();
    const uint32_t full = ptx::shared_address(&ring.full[s]);
    for (int half = 0; half < HALVES; ++half) {
      if (half == 1 && defect == Defect::CopiesArrivalTooSoon) announce(full, defect);
      const uint32_t to = ptx::shared_address(&ring.pieces[s][half][lane]);
      if (defect == Defect::CopiesTwice) ptx::cp_async<4>(to, x);
      ptx::cp_async<4>(to, x + (step * HALVES + half) * 32 + lane);
    }
    if (defect != Defect::CopiesArrivalTooSoon) announce(full, defect);
    ptx::cp_async_commit();
  }
  ptx::cp_async_wait<0>();
}

__device__ void consume(Ring& ring, int* y) {
  const int lane = int(threadIdx.x) % 32;
  for (int step = 0; step < STEPS; ++step) {
    const int s = step % STAGES, round = step / STAGES;
    ptx::mbarrier_wait(ptx::shared_address(&ring.full[s]), uint32_t(round) % 2);
    for (int half = 0; half < HALVES; ++half) y[(step * HALVES + half) * 32 + lane] = ring.pieces[s][half][31 - lane];
    ptx::mbarrier_arrive(ptx::shared_address(&ring.empty[s]));
  }
}

__global__ void __launch_bounds__(64) reverse_ring(const int* x, int* y, Defect defect) {
  SHARED(ring, Ring);
  if (threadIdx.x == 0) {
    for (int s = 0; s < STAGES; ++s) {
      ptx::mbarrier_init(ptx::shared_address(&ring.full[s]), defect == Defect::CopiesFullCount ? 16 : 32);
      ptx::mbarrier_init(ptx::shared_address(&ring.empty[s]), 32);
    }
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x < 32) produce(ring, x, defect);
  else consume(ring, y);
}

}  // namespace

void run_copies(Defect defect) {
  const auto x = conformance::iota<int>(STEPS * HALVES * 32);
  auto expected = x;
  for (size_t i = 0; i < x.size(); ++i) expected[i] = x[i / 32 * 32 + 31 - i % 32];
  const DeviceArray<int> from(x), to(x.size());
  cuda::launch(reverse_ring, 1, 64, from.data(), to.data(), defect);
  conformance::expect_near("lanes reversed", to.read(), expected);
}
