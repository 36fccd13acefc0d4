// cp.async: every size, zero fill, groups.

#include "cuda/conformance/case.cuh"

namespace lowrank::conformance {
namespace {

constexpr int THREADS = 64;

// Each thread copies one piece of `Bytes` with `thread % (Bytes + 1)` valid bytes, and passes it on.
template <int Bytes>
__global__ void copy_pieces(const uint8_t* x, uint8_t* y) {
  SHARED(pieces, Array<uint4, THREADS>);
  uint8_t* mine = reinterpret_cast<uint8_t*>(pieces) + threadIdx.x * Bytes;
  ptx::cp_async<Bytes>(ptx::shared_address(mine), x + threadIdx.x * Bytes, int(threadIdx.x) % (Bytes + 1));
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  for (int i = 0; i < Bytes; ++i) y[threadIdx.x * Bytes + i] = mine[i];
}

template <int Bytes>
void test_size() {
  std::vector<uint8_t> x(THREADS * Bytes), expected(x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = uint8_t(i * 7 + 1);
  for (size_t i = 0; i < x.size(); ++i) expected[i] = i % Bytes < i / Bytes % (Bytes + 1) ? x[i] : 0;
  const DeviceArray<uint8_t> from(x), to(x.size());
  cuda::launch(copy_pieces<Bytes>, 1, THREADS, from.data(), to.data());
  expect_near("bytes " + std::to_string(Bytes), to.read(), expected);
}

// Three groups in flight; each is read once at most two, one, none of the later ones are pending.
__global__ void copy_groups(const int* x, int* y) {
  SHARED(stages, Array<int, 3, THREADS>);
  const int i = int(threadIdx.x);
  for (int stage = 0; stage < 3; ++stage) {
    ptx::cp_async<4>(ptx::shared_address(&stages[stage][i]), x + stage * THREADS + i);
    ptx::cp_async_commit();
  }
  ptx::cp_async_wait<2>();
  y[i] = stages[0][i];
  ptx::cp_async_wait<1>();
  y[THREADS + i] = stages[1][i];
  ptx::cp_async_wait<0>();
  __syncthreads();
  y[2 * THREADS + i] = stages[2][THREADS - 1 - i];
}

// The first warp copies twice and leaves; the second one takes what arrives.
__global__ void announced_copies(const int* x, int* y) {
  SHARED(pieces, Array<int, 2, 32>);
  SHARED(barriers, Array<uint64_t, 2>);
  const uint32_t first = ptx::shared_address(&barriers[0]), second = ptx::shared_address(&barriers[1]);
  const int i = int(threadIdx.x) % 32;
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(first, 32);
    ptx::mbarrier_init(second, 33);
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    for (int piece = 0; piece < 2; ++piece) {
      ptx::cp_async<4>(ptx::shared_address(&pieces[piece][i]), x + piece * 32 + i);
      ptx::cp_async_mbarrier_arrive(piece ? second : first);
    }
    if (i == 0) ptx::mbarrier_arrive(second);
  } else {
    ptx::mbarrier_wait(first, 0);
    y[i] = pieces[0][31 - i];
    ptx::mbarrier_wait(second, 0);
    y[32 + i] = pieces[1][31 - i];
  }
}

void cp_async_groups() {
  const auto x = iota<int>(3 * THREADS);
  auto expected = x;
  for (int i = 0; i < THREADS; ++i) expected[size_t(2 * THREADS + i)] = 3 * THREADS - 1 - i;
  const DeviceArray<int> from(x), to(x.size());
  cuda::launch(copy_groups, 1, THREADS, from.data(), to.data());
  expect_near("groups", to.read(), expected);
}

void cp_async_arrives_at_mbarrier() {
  const auto x = iota<int>(64);
  const DeviceArray<int> from(x), to(x.size());
  cuda::launch(announced_copies, 1, 64, from.data(), to.data());
  std::vector<int> expected(64);
  for (int i = 0; i < 64; ++i) expected[size_t(i)] = i / 32 * 32 + 31 - i % 32;
  expect_near("copies", to.read(), expected);
}

}  // namespace

Cases copy_cases() {
  return {
      {"cp_async_4", 80, test_size<4>},
      {"cp_async_8", 80, test_size<8>},
      {"cp_async_16", 80, test_size<16>},
      {"cp_async_groups", 80, cp_async_groups},
      {"cp_async_arrives_at_mbarrier", 90, cp_async_arrives_at_mbarrier},
  };
}

}  // namespace lowrank::conformance
