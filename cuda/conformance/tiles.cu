// Products and copies as the kernels for Hopper combine them: tiles that TMA brings in panels of 128-byte lines,
// k-steps within a swizzled line, the second warpgroup's rows, the second panel's columns; what multicast owes; how
// much shared memory there is, and where it begins.

#include "cuda/conformance/case.cuh"

namespace lowrank::conformance {
namespace {

using Bf16 = __nv_bfloat16;
constexpr uint32_t LINE = 128, GROUP = 8 * LINE;  // bytes
constexpr int WIDTH = 64;                         // elements of a line

// An operand [mn, k] in global memory, and the box that brings a panel of it. Along k: panels of WIDTH k and `mn`
// lines. Else panels of WIDTH rows and `k` lines.
struct Side {
  TensorMap map;
  int panels, lines;
};

Side side_of(const Bf16* data, int mn, int k, bool along_k) {
  const int inner = along_k ? k : mn, lines = along_k ? mn : k;
  const TensorMap map = cuda::tensor_map(
      data, {{uint64_t(inner), uint64_t(lines)}, {uint64_t(inner) * 2}, {WIDTH, uint32_t(lines)}, 128});
  return {map, inner / WIDTH, lines};
}

__device__ void load_side(uint32_t to, const TensorMap* map, int panels, int lines, uint32_t barrier) {
  for (int panel = 0; panel < panels; ++panel)
    ptx::tma_load<2>(to + uint32_t(panel * lines) * LINE, map, barrier, panel * WIDTH, 0);
}

// What of the tiles is multiplied: `steps` of 16 k from the first on, 64 rows of a from `row` on and N of b from
// `column` on, multiples of 64.
struct Part {
  int first_step, steps, row, column;
};

// The descriptor of rows `mn` on at a k-step, of an operand with `lines` lines a panel.
template <bool AlongK>
__device__ uint64_t descriptor(uint32_t tile, int lines, int mn, int step) {
  const uint32_t panel = uint32_t(lines) * LINE;
  if constexpr (AlongK)
    return ptx::wgmma_descriptor<128>(tile + uint32_t(mn) * LINE + uint32_t(step / 4) * panel + uint32_t(step % 4) * 32,
                                      16, GROUP);
  else
    return ptx::wgmma_descriptor<128>(tile + uint32_t(mn / WIDTH) * panel + uint32_t(step) * 2 * GROUP, panel, GROUP);
}

template <int N>
__device__ void write_sums(float* y, const float (&d)[N / 2]) {
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  for (int i = 0; i < N / 2; ++i)
    y[(warp * 16 + lane / 4 + i / 2 % 2 * 8) * N + i / 4 * 8 + lane % 4 * 2 + i % 2] = d[i];
}

// y[64, N] = a part of a b^T. With `Registers` a comes from global memory, [64, 16 * steps], else from its tile.
template <int N, bool AlongA, bool AlongB, bool Registers>
__global__ void __launch_bounds__(128) multiply_part(float* y, const Bf16* rows, const __grid_constant__ Side a,
                                                     const __grid_constant__ Side b, Part part) {
  SHARED_DYNAMIC(bytes);
  SHARED(bar, uint64_t);
  const uint32_t barrier = ptx::shared_address(&bar), left = ptx::shared_address(bytes);
  const uint32_t of_a = Registers ? 0 : uint32_t(a.panels * a.lines) * LINE, right = left + of_a;
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(barrier, 1);
    ptx::fence_mbarrier_init();
    ptx::mbarrier_arrive_expect(barrier, of_a + uint32_t(b.panels * b.lines) * LINE);
    if (!Registers) load_side(left, &a.map, a.panels, a.lines, barrier);
    load_side(right, &b.map, b.panels, b.lines, barrier);
  }
  __syncthreads();
  ptx::mbarrier_wait(barrier, 0);
  float d[N / 2] = {};
  ptx::wgmma_fence();
  for (int step = part.first_step; step < part.first_step + part.steps; ++step) {
    const uint64_t of_b = descriptor<AlongB>(right, b.lines, part.column, step);
    if constexpr (Registers) {
      const int row = int(threadIdx.x) / 32 * 16 + int(threadIdx.x) % 32 / 4, k = int(threadIdx.x) % 4 * 2 + 16 * step;
      uint32_t r[4];
      for (int i = 0; i < 4; ++i) memcpy(&r[i], rows + (row + i % 2 * 8) * 16 * part.steps + k + i / 2 * 8, 4);
      ptx::wgmma_fence();
      ptx::wgmma<Bf16, N, !AlongB>(d, r, of_b, true);
    } else {
      ptx::wgmma<Bf16, N, !AlongA, !AlongB>(d, descriptor<AlongA>(left, a.lines, part.row, step), of_b, true);
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::wgmma_fence();
  }
  write_sums<N>(y, d);
}

// x [mn, k] as it lies in memory where lines are along mn.
std::vector<Bf16> transposed(const std::vector<Bf16>& x, int mn, int k) {
  std::vector<Bf16> y(x.size());
  for (int i = 0; i < mn; ++i)
    for (int j = 0; j < k; ++j) y[size_t(j * mn + i)] = x[size_t(i * k + j)];
  return y;
}

// Rows and k of x [mn, k] that a part reads.
std::vector<Bf16> cut(const std::vector<Bf16>& x, int k, int row, int rows, Part part) {
  std::vector<Bf16> y;
  for (int i = row; i < row + rows; ++i)
    for (int j = 16 * part.first_step; j < 16 * (part.first_step + part.steps); ++j) y.push_back(x[size_t(i * k + j)]);
  return y;
}

// Tiles of `m` and `n` rows and `k` columns.
template <int N, bool AlongA, bool AlongB, bool Registers = false>
void test_part(const std::string& what, int m, int n, int k, Part part) {
  const auto a = values<Bf16>(size_t(m * k), 1), b = values<Bf16>(size_t(n * k), 2);
  const DeviceArray<Bf16> left(AlongA ? a : transposed(a, m, k)), right(AlongB ? b : transposed(b, n, k));
  const DeviceArray<float> y(64 * N);
  const size_t shared = size_t((Registers ? 0 : m * k) + n * k) * 2;
  cuda::launch(multiply_part<N, AlongA, AlongB, Registers>, {dim3(1), dim3(128), shared}, y.data(), left.data(),
               side_of(left.data(), m, k, AlongA), side_of(right.data(), n, k, AlongB), part);
  const auto expected = product(cut(a, k, part.row, 64, part), cut(b, k, part.column, N, part), 64, N, 16 * part.steps);
  expect_near(what, y.read(), expected, 1e-5);
}

// Operands that begin 32, 64, 96 bytes into a line, with a base offset of 0.
void wgmma_steps_within_a_line() {
  for (int step = 0; step < 4; ++step)
    test_part<128, true, true>("k-step " + std::to_string(step), 64, 128, 64, {step, 1, 0, 0});
  test_part<128, true, true>("four k-steps", 64, 128, 64, {0, 4, 0, 0});
  test_part<64, true, true>("two panels of k", 64, 64, 128, {0, 8, 0, 0});
}

// The second consumer's rows, and columns by chunks of 64.
void wgmma_later_rows() {
  test_part<128, true, true>("rows from 64", 128, 128, 64, {0, 4, 64, 0});
  for (const int column : {64, 128, 192})
    test_part<64, true, true>("columns from " + std::to_string(column), 128, 256, 64, {0, 3, 64, column});
}

// Lines along mn: k-steps of two groups, the second warpgroup's panel, columns of two panels in one product.
void wgmma_steps_across_lines() {
  test_part<128, false, false>("both across", 128, 128, 64, {0, 4, 64, 0});
  test_part<256, true, false>("b across", 64, 256, 64, {1, 3, 0, 0});
  test_part<64, false, false>("the last panel", 128, 256, 64, {2, 2, 64, 192});
}

// P v: probabilities from registers, values of 128 rows and 64 or 128 columns, transposed.
void wgmma_registers_two_panels() {
  test_part<64, true, false, true>("one panel", 64, 64, 128, {0, 8, 0, 0});
  test_part<128, true, false, true>("two panels", 64, 128, 128, {0, 8, 0, 0});
}

// Block 0 expects its bytes when they have long arrived: what is owed falls below zero, and the phase waits for the
// arrival.
__global__ void expect_late(const __grid_constant__ TensorMap map, float* y) {
  SHARED_DYNAMIC(bytes);
  SHARED(bar, uint64_t);
  const uint32_t at = ptx::shared_address(&bar), rank = ptx::cluster_rank();
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(at, 1);
    ptx::fence_mbarrier_init();
  }
  ptx::cluster_sync();
  if (rank == 1) {
    if (threadIdx.x == 0) {
      ptx::mbarrier_arrive_expect(at, 512 * 4);
      ptx::tma_load_multicast<2>(ptx::shared_address(bytes), &map, at, 3, 0, 0);
    }
    ptx::mbarrier_wait(at, 0);
  }
  ptx::cluster_sync();
  if (rank == 0) {
    if (threadIdx.x == 0) ptx::mbarrier_arrive_expect(at, 512 * 4);
    ptx::mbarrier_wait(at, 0);
  }
  for (int i = int(threadIdx.x); i < 512; i += 64)
    y[blockIdx.x * 512 + unsigned(i)] = reinterpret_cast<const float*>(bytes)[i];
  ptx::cluster_sync();
}

void multicast_before_expect() {
  const auto x = values<float>(512, 7);
  const DeviceArray<float> tensor(x), y(2 * 512);
  const TensorMap map = cuda::tensor_map(tensor.data(), {{32, 16}, {128}, {32, 16}, 0});
  cuda::launch(expect_late, {dim3(2), dim3(64), 2048, 2}, map, y.data());
  auto expected = x;
  expected.insert(expected.end(), x.begin(), x.end());
  expect_near("multicast", y.read(), expected);
}

constexpr int WORDS = 226 * 256;  // 226 KB

// Each word its number, then a swizzled box by TMA over the last 8 KB.
__global__ void fill_shared(const __grid_constant__ TensorMap map, float* y) {
  SHARED_DYNAMIC(bytes);
  SHARED(bar, uint64_t);
  auto* words = reinterpret_cast<float*>(bytes);
  const uint32_t at = ptx::shared_address(&bar);
  for (int i = int(threadIdx.x); i < WORDS; i += 256) words[i] = float(i);
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(at, 1);
    ptx::fence_mbarrier_init();
  }
  ptx::fence_proxy_async();
  __syncthreads();
  if (threadIdx.x == 0) {
    ptx::mbarrier_arrive_expect(at, 8192);
    ptx::tma_load<2>(ptx::shared_address(bytes) + WORDS * 4 - 8192, &map, at, 0, 0);
  }
  ptx::mbarrier_wait(at, 0);
  for (int i = int(threadIdx.x); i < WORDS; i += 256) y[i] = words[i];
}

void shared_memory_of_226_kb() {
  const auto x = values<float>(64 * 32, 3);
  const DeviceArray<float> tensor(x), y(WORDS);
  const TensorMap map = cuda::tensor_map(tensor.data(), {{32, 64}, {128}, {32, 64}, 128});
  cuda::launch(fill_shared, {dim3(1), dim3(256), WORDS * 4}, map, y.data());
  auto expected = iota<float>(WORDS);
  for (int line = 0; line < 64; ++line)
    for (int i = 0; i < 32; ++i)
      expected[size_t(WORDS - 2048) + swizzled_byte(size_t(line), size_t(i) * 4, 128) / 4] = x[size_t(line * 32 + i)];
  expect_near("shared memory", y.read(), expected);
}

// The dynamic part behind variables of odd size: it begins at a multiple of 1024, which the swizzles of addresses ask,
// and overlaps none of them.
__global__ void locate_shared(uint32_t* y) {
  SHARED_DYNAMIC(bytes);
  SHARED(odd, Array<unsigned char, 1100>);
  SHARED(word, uint64_t);
  const uint32_t begin = ptx::shared_address(bytes);
  for (int i = int(threadIdx.x); i < 1100; i += 64) odd[i] = 1;
  if (threadIdx.x == 0) word = 2;
  for (int i = int(threadIdx.x); i < 2048; i += 64) bytes[i] = 3;
  __syncthreads();
  const auto outside = [&](const void* p, uint32_t size) {
    const uint32_t at = ptx::shared_address(p);
    return at + size <= begin || at >= begin + 2048;
  };
  if (threadIdx.x == 0) {
    y[0] = begin % 1024;
    y[1] = outside(&odd[0], 1100) && outside(&word, 8);
    y[2] = word == 2;
  }
  uint32_t sum = 0;
  if (threadIdx.x == 0)
    for (int i = 0; i < 1100; ++i) sum += odd[i];
  if (threadIdx.x == 0) y[3] = sum;
}

void dynamic_shared_behind_static() {
  const DeviceArray<uint32_t> y(4);
  cuda::launch(locate_shared, {dim3(1), dim3(64), 2048}, y.data());
  expect_near("shared memory", y.read(), std::vector<uint32_t>{0, 1, 1, 1100});
}

}  // namespace

Cases tile_cases() {
  return {
      {"dynamic_shared_behind_static", 80, dynamic_shared_behind_static},
      {"shared_memory_of_226_kb", 90, shared_memory_of_226_kb},
      {"multicast_before_expect", 909, multicast_before_expect},
      {"wgmma_steps_within_a_line", 909, wgmma_steps_within_a_line},
      {"wgmma_later_rows", 909, wgmma_later_rows},
      {"wgmma_steps_across_lines", 909, wgmma_steps_across_lines},
      {"wgmma_registers_two_panels", 909, wgmma_registers_two_panels},
  };
}

}  // namespace lowrank::conformance
