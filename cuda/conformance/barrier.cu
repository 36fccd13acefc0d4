// Named barriers, mbarriers, barriers of clusters.

#include "cuda/conformance/case.cuh"

namespace lowrank::conformance {
namespace {

// Two warps meet at barrier 1 and the other two at barrier 2; then all four at barrier 3.
__global__ void named_barriers(int* y) {
  SHARED(slots, Array<int, 128>);
  SHARED(echo, Array<int, 128>);
  const int i = int(threadIdx.x), half = i / 64 * 64;
  slots[i] = i * i;
  if (half == 0) ptx::barrier_sync<1, 64>();
  else ptx::barrier_sync<2, 64>();
  echo[i] = slots[half + 63 - i % 64] + 1;
  ptx::barrier_sync<3, 128>();
  y[i] = echo[127 - i];
}

// One producer thread, three consumers warps, a ring of one slot over four rounds: both parities of both barriers.
__global__ void ring(int* y) {
  SHARED(bars, Array<uint64_t, 2>);
  SHARED(slot, int);
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  const uint32_t full = ptx::shared_address(&bars[0]), empty = ptx::shared_address(&bars[1]);
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(full, 1);
    ptx::mbarrier_init(empty, 6);
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  for (uint32_t round = 0; round < 4; ++round) {
    if (warp == 0) {
      if (lane == 0) {
        if (round > 0) ptx::mbarrier_wait(empty, (round - 1) % 2);
        slot = int(round) * 10;
        ptx::mbarrier_arrive(full);
      }
    } else {
      while (!ptx::mbarrier_try_wait(full, round % 2)) continue;
      y[round * 96 + threadIdx.x - 32] = slot + warp;
      __syncwarp();
      if (lane == 7) ptx::mbarrier_arrive(empty, 2);
    }
  }
}

// Rank 0 waits for an arrival of each block of its cluster, and all for all.
__global__ void neighbours(int* y) {
  SHARED(bar, uint64_t);
  const uint32_t rank = ptx::cluster_rank(), at = ptx::shared_address(&bar);
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(at, 4);
    ptx::fence_mbarrier_init();
  }
  ptx::cluster_sync();
  if (threadIdx.x == 1) ptx::mbarrier_arrive_read(ptx::map_shared(at, 0));
  if (rank == 0) ptx::mbarrier_wait(at, 0);
  ptx::cluster_arrive();
  ptx::cluster_wait();
  if (threadIdx.x == 0) y[blockIdx.x] = int(rank);
}

// Values that are late on a GPU, and what a kernel makes of them that may begin before they are there.
__global__ void write_late(int* x) {
  int chain = int(threadIdx.x);
  for (int i = 0; i < 10000; ++i) chain = chain * 5 % 641;
  x[threadIdx.x] = int(threadIdx.x) + (chain < 0 ? 1 : 0);
}
__global__ void read_after(const int* x, int* y) {
  ptx::wait_for_kernels();
  ptx::let_next_kernel_start();
  y[threadIdx.x] = 2 * x[63 - threadIdx.x];
}

void kernels_that_overlap() {
  const DeviceArray<int> x(64), y(64), z(64);
  const cuda::Launch overlapping{dim3(1), dim3(64), 0, 1, true};
  cuda::launch(write_late, 1, 64, x.data());
  cuda::launch(read_after, overlapping, x.data(), y.data());
  cuda::launch(read_after, overlapping, y.data(), z.data());
  std::vector<int> expected;
  for (int i = 0; i < 64; ++i) expected.push_back(4 * i);
  expect_near("z", z.read(), expected);
}

void named_barriers_of_halves() {
  const DeviceArray<int> y(128);
  cuda::launch(named_barriers, 1, 128, y.data());
  std::vector<int> expected;
  for (int i = 0; i < 128; ++i) expected.push_back((i ^ 64) * (i ^ 64) + 1);
  expect_near("echo", y.read(), expected);
}

void mbarrier_ring() {
  const DeviceArray<int> y(4 * 96);
  cuda::launch(ring, 1, 128, y.data());
  std::vector<int> expected;
  for (int i = 0; i < 4 * 96; ++i) expected.push_back(i / 96 * 10 + i % 96 / 32 + 1);
  expect_near("ring", y.read(), expected);
}

void cluster_barriers() {
  const DeviceArray<int> y(8);
  cuda::launch(neighbours, {dim3(8), dim3(64), 0, 4}, y.data());
  expect_near("ranks", y.read(), std::vector<int>{0, 1, 2, 3, 0, 1, 2, 3});
}

}  // namespace

Cases barrier_cases() {
  return {
      {"named_barriers_of_halves", 80, named_barriers_of_halves},
      {"kernels_that_overlap", 90, kernels_that_overlap},
      {"mbarrier_ring", 90, mbarrier_ring},
      {"cluster_barriers", 90, cluster_barriers},
  };
}

}  // namespace lowrank::conformance
