// c[M, N] = a[M, K] b[N, K]^T in bf16 by a TMA producer, a ring of mbarriers, two wgmma consumer groups, and TMA
// stores; with defects on demand.

#include "cuda/conformance/case.cuh"
#include "test/emulator/defects/defects.h"

namespace {

using namespace lowrank;
using conformance::DeviceArray;
using Bf16 = __nv_bfloat16;

constexpr int TILE = 128, DEPTH = 64, STAGES = 3, THREADS = 384;
constexpr uint32_t OPERAND = TILE * DEPTH * 2, STAGE = 2 * OPERAND;
constexpr uint32_t OUT = STAGES * STAGE;  // of c: two panels of 64 columns

struct Ring {
  uint32_t stages, full, empty;
};

__device__ void initialise(const Ring& ring, Defect defect) {
  if (threadIdx.x == 0) {
    for (uint32_t s = 0; s < STAGES; ++s) {
      ptx::mbarrier_init(ring.full + 8 * s, 1);
      ptx::mbarrier_init(ring.empty + 8 * s, defect == Defect::RingEmptyCount ? 1 : 2);
    }
    if (defect != Defect::RingNoInitFence) ptx::fence_mbarrier_init();
  }
  if (defect != Defect::RingNoInitBarrier) __syncthreads();
}

__device__ void produce(const Ring& ring, const TensorMap* a, const TensorMap* b, int steps, Defect defect) {
  const int row = int(blockIdx.y) * TILE, column = int(blockIdx.x) * TILE;
  for (int step = 0; step < steps; ++step) {
    const uint32_t s = uint32_t(step % STAGES), round = uint32_t(step / STAGES);
    if (round > 0 && defect != Defect::RingProducerWait) ptx::mbarrier_wait(ring.empty + 8 * s, (round - 1) % 2);
    const uint32_t to = ring.stages + s * STAGE, bar = ring.full + 8 * s;
    ptx::mbarrier_arrive_expect(bar, defect == Defect::RingExpectBytes ? OPERAND : STAGE);
    ptx::tma_load<2>(to, a, bar, step * DEPTH, row);
    if (defect == Defect::RingCoordinates) ptx::tma_load<2>(to + OPERAND, b, bar, column, step * DEPTH);
    else ptx::tma_load<2>(to + OPERAND, b, bar, step * DEPTH, column);
  }
}

__device__ uint64_t descriptor(uint32_t at, Defect defect) {
  const uint32_t stride = defect == Defect::RingStride ? 512 : 1024;
  return defect == Defect::RingSwizzle ? ptx::wgmma_descriptor<64>(at, 16, stride)
                                       : ptx::wgmma_descriptor<128>(at, 16, stride);
}

// All threads of consumer group 0 or 1.
__device__ void meet(int group, Defect defect) {
  if (defect == Defect::RingBarrierCount) {
    if (group == 0) ptx::barrier_sync<1, 256>();
    else ptx::barrier_sync<2, 256>();
  } else {
    if (group == 0) ptx::barrier_sync<1, 128>();
    else ptx::barrier_sync<2, 128>();
  }
}

__device__ void consume(const Ring& ring, int group, int steps, Defect defect, float (&d)[TILE / 2]) {
  const bool first = threadIdx.x % 128 == 0;
  for (int step = 0; step < steps; ++step) {
    const uint32_t s = uint32_t(step % STAGES), round = uint32_t(step / STAGES);
    const uint32_t parity = defect == Defect::RingParity ? (round + 1) % 2 : round % 2;
    if (defect != Defect::RingConsumerWait) ptx::mbarrier_wait(ring.full + 8 * s, parity);
    if (defect != Defect::RingNoWgmmaFence) ptx::wgmma_fence();
    const uint32_t a = ring.stages + s * STAGE + uint32_t(group) * 64 * 128, b = ring.stages + s * STAGE + OPERAND;
    for (uint32_t k = 0; k < DEPTH / 16; ++k)
      ptx::wgmma<Bf16, TILE>(d, descriptor(a + k * 32, defect), descriptor(b + k * 32, defect), true);
    ptx::wgmma_commit();
    if (defect == Defect::RingEarlyRelease) {
      if (first) ptx::mbarrier_arrive(ring.empty + 8 * s);
      ptx::wgmma_wait<0>();
      continue;
    }
    ptx::wgmma_wait<0>();
    if (defect != Defect::RingOneWarpReleases) meet(group, defect);
    if (first) ptx::mbarrier_arrive(ring.empty + 8 * s);
  }
  if (defect == Defect::RingReadsAccumulators) {
    ptx::wgmma_fence();
    ptx::wgmma<Bf16, TILE>(d, descriptor(ring.stages, defect), descriptor(ring.stages + OPERAND, defect), false);
    ptx::wgmma_commit();
  }
}

__device__ void stage_out(unsigned char* out, int group, const float (&d)[TILE / 2]) {
  const int warp = int(threadIdx.x) % 128 / 32, lane = int(threadIdx.x) % 32;
  for (int i = 0; i < TILE / 2; i += 2) {
    const int row = group * 64 + warp * 16 + lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2;
    const int chunk = column % 64 / 8 ^ row % 8;
    Bf16* to = reinterpret_cast<Bf16*>(out + column / 64 * (TILE * 128) + row * 128 + chunk * 16) + column % 8;
    to[0] = Bf16(d[i]);
    to[1] = Bf16(d[i + 1]);
  }
}

__device__ void store_out(uint32_t out, const TensorMap* c, int group, Defect defect) {
  const bool fences = defect == Defect::RingOneLaneFences ? threadIdx.x % 32 == 0 : defect != Defect::RingNoProxyFence;
  if (fences) ptx::fence_proxy_async();
  if (defect != Defect::RingNoStoreBarrier) meet(group, Defect::None);
  if (threadIdx.x % 128 != 0) return;
  for (int panel = 0; panel < 2; ++panel)
    ptx::tma_store<2>(c, out + uint32_t(panel * TILE + group * 64) * 128, int(blockIdx.x) * TILE + panel * 64,
                      int(blockIdx.y) * TILE + group * 64);
  ptx::tma_commit();
  if (defect != Defect::RingNoStoreWait) ptx::tma_wait_read<0>();
}

__global__ void __launch_bounds__(THREADS, 1)
    product_ring(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
                 const __grid_constant__ TensorMap c, int steps, Defect defect) {
  SHARED_DYNAMIC(bytes);
  SHARED(bars, Array<uint64_t, 2 * STAGES>);
  const Ring ring{ptx::shared_address(bytes), ptx::shared_address(&bars[0]), ptx::shared_address(&bars[STAGES])};
  initialise(ring, defect);
  if (defect != Defect::RingNoKernelWait) ptx::wait_for_kernels();
  if (threadIdx.x < 128) {
    ptx::registers_down<40>();
    if (threadIdx.x == 0) produce(ring, &a, &b, steps, defect);
    return;
  }
  ptx::registers_up<232>();
  const int group = int(threadIdx.x) / 128 - 1;
  float d[TILE / 2] = {};
  consume(ring, group, steps, defect, d);
  stage_out(bytes + OUT, group, d);
  store_out(ring.stages + OUT, &c, group, defect);
  if (defect == Defect::RingReadsAccumulators) ptx::wgmma_wait<0>();
}

TensorMap tile_map(const Bf16* data, uint64_t rows, uint64_t columns, uint32_t box_rows) {
  return cuda::tensor_map(data, {{columns, rows}, {columns * 2}, {64, box_rows}, 128});
}

}  // namespace

void run_ring(Defect defect) {
  constexpr int m = 128, n = 256, depth = 512;
  const auto a = conformance::values<Bf16>(m * depth, 1), b = conformance::values<Bf16>(n * depth, 2);
  const DeviceArray<Bf16> left(a), right(b), c(m * n);
  cuda::launch(product_ring, {dim3(n / TILE, m / TILE), dim3(THREADS), OUT + TILE * TILE * 2, 1, true},
               tile_map(left.data(), m, depth, TILE), tile_map(right.data(), n, depth, TILE),
               tile_map(c.data(), m, n, 64), depth / DEPTH, defect);
  conformance::expect_near("product", c.read(), conformance::product(a, b, m, n, depth), 5e-3);
}
