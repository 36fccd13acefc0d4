// TMA: boxes of one, two and three dimensions, every swizzle, edges, multicast, stores.

#include "cuda/conformance/case.cuh"

namespace lowrank::conformance {
namespace {

constexpr int THREADS = 64;

// Loads one box and writes its shared memory out as it lies there.
template <int Rank, typename T>
__global__ void load_box(const __grid_constant__ TensorMap map, T* y, int n, int c0, int c1, int c2) {
  SHARED_DYNAMIC(bytes);
  SHARED(bar, uint64_t);
  const uint32_t at = ptx::shared_address(&bar);
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(at, 1);
    ptx::fence_mbarrier_init();
    ptx::mbarrier_arrive_expect(at, uint32_t(n) * sizeof(T));
    ptx::tma_load<Rank>(ptx::shared_address(bytes), &map, at, c0, c1, c2);
  }
  __syncthreads();
  ptx::mbarrier_wait(at, 0);
  for (int i = int(threadIdx.x); i < n; i += THREADS) y[i] = reinterpret_cast<const T*>(bytes)[i];
}

// The way back: shared memory as given, to a box of the tensor. Who ends the kernel waits for reads alone.
template <int Rank, typename T>
__global__ void store_box(const __grid_constant__ TensorMap map, const T* x, int n, int c0, int c1, int c2) {
  SHARED_DYNAMIC(bytes);
  for (int i = int(threadIdx.x); i < n; i += THREADS) reinterpret_cast<T*>(bytes)[i] = x[i];
  ptx::fence_proxy_async();
  __syncthreads();
  if (threadIdx.x != 0) return;
  ptx::tma_store<Rank>(&map, ptx::shared_address(bytes), c0, c1, c2);
  ptx::tma_commit();
  ptx::tma_wait_read<0>();
}

// Half of the box by each of two blocks, to both.
__global__ void share_box(const __grid_constant__ TensorMap map, float* y) {
  SHARED_DYNAMIC(bytes);
  SHARED(bar, uint64_t);
  const uint32_t at = ptx::shared_address(&bar), rank = ptx::cluster_rank();
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(at, 1);
    ptx::fence_mbarrier_init();
    ptx::mbarrier_arrive_expect(at, 2 * 8 * 32 * 4);
  }
  ptx::cluster_sync();
  if (threadIdx.x == 0)
    ptx::tma_load_multicast<2>(ptx::shared_address(bytes) + rank * 8 * 32 * 4, &map, at, 3, 0, int(rank) * 8);
  ptx::mbarrier_wait(at, 0);
  for (int i = int(threadIdx.x); i < 512; i += THREADS)
    y[blockIdx.x * 512 + unsigned(i)] = reinterpret_cast<const float*>(bytes)[i];
  ptx::cluster_sync();
}

struct Box {
  int rank, dims[3], box[3], at[3], swizzle;
};

// Index into the tensor of each element of the box where it lies in shared memory; -1 outside.
template <typename T>
std::vector<int> placement(const Box& s) {
  std::vector<int> y(size_t(s.box[0] * s.box[1] * s.box[2]));
  for (int z = 0; z < s.box[2]; ++z)
    for (int row = 0; row < s.box[1]; ++row)
      for (int column = 0; column < s.box[0]; ++column) {
        const int c = s.at[0] + column, r = s.at[1] + row, p = s.at[2] + z;
        const bool inside = c >= 0 && c < s.dims[0] && r >= 0 && r < s.dims[1] && p >= 0 && p < s.dims[2];
        const size_t line = size_t(z * s.box[1] + row), byte = size_t(column) * sizeof(T);
        const size_t to =
            s.swizzle ? swizzled_byte(line, byte, size_t(s.swizzle)) : line * size_t(s.box[0]) * sizeof(T) + byte;
        y[to / sizeof(T)] = inside ? (p * s.dims[1] + r) * s.dims[0] + c : -1;
      }
  return y;
}

template <typename T>
TensorMap map_of(const T* data, const Box& s) {
  const auto dim = [&](int i) { return uint64_t(s.dims[i]); };
  const auto box = [&](int i) { return uint32_t(s.box[i]); };
  const uint64_t row = dim(0) * sizeof(T);
  if (s.rank == 1) return cuda::tensor_map(data, {{dim(0)}, {}, {box(0)}, s.swizzle});
  if (s.rank == 2) return cuda::tensor_map(data, {{dim(0), dim(1)}, {row}, {box(0), box(1)}, s.swizzle});
  return cuda::tensor_map(data, {{dim(0), dim(1), dim(2)}, {row, row * dim(1)}, {box(0), box(1), box(2)}, s.swizzle});
}

template <int Rank, typename T>
void test_box(const Box& s) {
  const size_t all = size_t(s.dims[0] * s.dims[1] * s.dims[2]);
  const auto x = values<T>(all, 5);
  const auto place = placement<T>(s);
  const int n = int(place.size());
  const cuda::Launch shape{dim3(1), dim3(THREADS), place.size() * sizeof(T)};
  std::vector<T> in_shared;
  for (const int i : place) in_shared.push_back(i < 0 ? T(0.0f) : x[size_t(i)]);
  const DeviceArray<T> tensor(x), loaded(place.size());
  cuda::launch(load_box<Rank, T>, shape, map_of(tensor.data(), s), loaded.data(), n, s.at[0], s.at[1], s.at[2]);
  expect_near("load", loaded.read(), in_shared);

  auto expected = x;
  const auto stored = values<T>(place.size(), 6);
  for (size_t i = 0; i < place.size(); ++i)
    if (place[i] >= 0) expected[size_t(place[i])] = stored[i];
  const DeviceArray<T> source(stored);
  cuda::launch(store_box<Rank, T>, shape, map_of(tensor.data(), s), source.data(), n, s.at[0], s.at[1], s.at[2]);
  expect_near("store", tensor.read(), expected);
}

void tma_1d() {
  test_box<1, float>({1, {100, 1, 1}, {64, 1, 1}, {20, 0, 0}, 0});
  test_box<1, float>({1, {100, 1, 1}, {64, 1, 1}, {60, 0, 0}, 0});
}

void tma_2d_edges() {
  test_box<2, float>({2, {40, 30, 1}, {16, 8, 1}, {8, 4, 0}, 0});
  test_box<2, float>({2, {40, 30, 1}, {16, 8, 1}, {30, 26, 0}, 0});
  test_box<2, __nv_bfloat16>({2, {40, 30, 1}, {16, 8, 1}, {-5, -3, 0}, 0});
}

void tma_2d_swizzle_32() { test_box<2, __nv_bfloat16>({2, {64, 40, 1}, {16, 32, 1}, {3, 5, 0}, 32}); }
void tma_2d_swizzle_64() { test_box<2, __half>({2, {64, 40, 1}, {32, 32, 1}, {40, 5, 0}, 64}); }
void tma_2d_swizzle_128() {
  test_box<2, __nv_bfloat16>({2, {80, 40, 1}, {64, 24, 1}, {0, 20, 0}, 128});
  test_box<2, float>({2, {40, 40, 1}, {32, 24, 1}, {16, -4, 0}, 128});
}

void tma_3d() {
  test_box<3, float>({3, {20, 7, 5}, {8, 4, 3}, {4, 2, 1}, 0});
  test_box<3, __nv_bfloat16>({3, {64, 7, 5}, {64, 4, 3}, {8, 5, 3}, 128});
}

void tma_multicast() {
  const auto x = values<float>(16 * 32, 7);
  const DeviceArray<float> tensor(x), y(2 * 512);
  const Box s{2, {32, 16, 1}, {32, 8, 1}, {0, 0, 0}, 0};
  cuda::launch(share_box, {dim3(2), dim3(THREADS), 2048, 2}, map_of(tensor.data(), s), y.data());
  auto expected = x;
  expected.insert(expected.end(), x.begin(), x.end());
  expect_near("multicast", y.read(), expected);
}

}  // namespace

Cases tma_cases() {
  return {
      {"tma_1d", 90, tma_1d},
      {"tma_2d_edges", 90, tma_2d_edges},
      {"tma_2d_swizzle_32", 90, tma_2d_swizzle_32},
      {"tma_2d_swizzle_64", 90, tma_2d_swizzle_64},
      {"tma_2d_swizzle_128", 90, tma_2d_swizzle_128},
      {"tma_3d", 90, tma_3d},
      {"tma_multicast", 909, tma_multicast},
  };
}

}  // namespace lowrank::conformance
