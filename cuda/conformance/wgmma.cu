// wgmma: every N, both types, both majors of both operands with every swizzle, A from registers.

#include "cuda/conformance/case.cuh"

namespace lowrank::conformance {
namespace {

// How an operand [mn, 16] lies in shared memory. `Transposed`: lines along mn.
template <bool Transposed, int Swizzle>
struct Layout {
  static constexpr bool transposed = Transposed;
  static constexpr int swizzle = Swizzle;
  // Bytes between groups, for an operand of `mn` rows.
  static constexpr uint32_t stride(int) { return Swizzle == 0 ? 128 : 8 * Swizzle; }
  static constexpr uint32_t leading(int mn) {
    if (Swizzle == 0) return uint32_t(mn) * 16;
    return Transposed ? 16 * Swizzle : 16;
  }
  static size_t bytes(int mn) {
    if (Swizzle == 0) return size_t(mn) * 32;
    return Transposed ? size_t(mn + ACROSS - 1) / ACROSS * 16 * Swizzle : size_t(mn) * Swizzle;
  }
  // Where element (i, k) is.
  static size_t byte(int mn, int i, int k) {
    if (Swizzle == 0 && Transposed) return size_t(i / 8 * 128 + k / 8 * mn * 16 + k % 8 * 16 + i % 8 * 2);
    if (Swizzle == 0) return size_t(i / 8 * 128 + k / 8 * mn * 16 + i % 8 * 16 + k % 8 * 2);
    if (!Transposed) return swizzled_byte(size_t(i), size_t(k) * 2, Swizzle);
    return size_t(i / ACROSS * 16 * Swizzle) + swizzled_byte(size_t(k), size_t(i % ACROSS) * 2, Swizzle);
  }

 private:
  static constexpr int ACROSS = Swizzle == 0 ? 8 : Swizzle / 2;  // elements of a line
};

template <typename T, int N>
struct Problem {
  const T *a, *b;  // as they lie in shared memory; a row-major where it comes from registers
  const float* c;
  float* d;
  uint32_t a_bytes, b_bytes;
};

template <int N>
__device__ int accumulator_index(int i) {
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  return (warp * 16 + lane / 4 + i / 2 % 2 * 8) * N + i / 4 * 8 + lane % 4 * 2 + i % 2;
}

__device__ void stage(unsigned char* to, const void* from, uint32_t bytes) {
  for (uint32_t i = threadIdx.x; i < bytes; i += 128) to[i] = static_cast<const unsigned char*>(from)[i];
}

// d[64, N] = a b^T + c, then the product alone is added once more.
template <typename T, int N, typename A, typename B, bool Registers>
__global__ void __launch_bounds__(128) multiply(Problem<T, N> p) {
  SHARED_DYNAMIC(bytes);
  unsigned char* b_bytes = bytes + 8192;
  if constexpr (!Registers) stage(bytes, p.a, p.a_bytes);
  stage(b_bytes, p.b, p.b_bytes);
  ptx::fence_proxy_async();
  __syncthreads();
  float d[N / 2];
  for (int i = 0; i < N / 2; ++i) d[i] = p.c[accumulator_index<N>(i)];
  const auto at = [](unsigned char* where) { return ptx::shared_address(where); };
  const uint64_t a_desc = ptx::wgmma_descriptor<A::swizzle>(at(bytes), A::leading(64), A::stride(64));
  const uint64_t b_desc = ptx::wgmma_descriptor<B::swizzle>(at(b_bytes), B::leading(N), B::stride(N));
  [[maybe_unused]] uint32_t a[4];
  if constexpr (Registers) {
    const int row = int(threadIdx.x) / 32 * 16 + int(threadIdx.x) % 32 / 4, column = int(threadIdx.x) % 4 * 2;
    for (int i = 0; i < 4; ++i) memcpy(&a[i], p.a + (row + i % 2 * 8) * 16 + column + i / 2 * 8, 4);
  }
  ptx::wgmma_fence();
  for (int i = 0; i < 2; ++i) {
    if constexpr (Registers) ptx::wgmma<T, N, B::transposed>(d, a, b_desc, true);
    else ptx::wgmma<T, N, A::transposed, B::transposed>(d, a_desc, b_desc, true);
    ptx::wgmma_commit();
  }
  ptx::wgmma_wait<1>();
  ptx::wgmma_wait<0>();
  for (int i = 0; i < N / 2; ++i) p.d[accumulator_index<N>(i)] = d[i];
}

// Without accumulation: what the registers held does not count.
template <typename T, int N>
__global__ void __launch_bounds__(128) overwrite(Problem<T, N> p) {
  SHARED_DYNAMIC(bytes);
  stage(bytes, p.a, p.a_bytes);
  stage(bytes + 8192, p.b, p.b_bytes);
  ptx::fence_proxy_async();
  __syncthreads();
  float d[N / 2];
  for (int i = 0; i < N / 2; ++i) d[i] = 1e30f;
  ptx::wgmma_fence();
  ptx::wgmma<T, N>(d, ptx::wgmma_descriptor<32>(ptx::shared_address(bytes), 16, 256),
                   ptx::wgmma_descriptor<32>(ptx::shared_address(bytes + 8192), 16, 256), false);
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  for (int i = 0; i < N / 2; ++i) p.d[accumulator_index<N>(i)] = d[i];
}

template <typename L, typename T>
std::vector<T> arranged(const std::vector<T>& x, int mn) {
  std::vector<T> y(L::bytes(mn) / 2, T(0.0f));
  for (int i = 0; i < mn; ++i)
    for (int k = 0; k < 16; ++k) y[L::byte(mn, i, k) / 2] = x[size_t(i * 16 + k)];
  return y;
}

template <typename T, int N, typename A, typename B, bool Registers = false>
void test_product() {
  const auto a = values<T>(64 * 16, 1), b = values<T>(N * 16, 2);
  const auto c = values<float>(64 * N, 3);
  const auto a_placed = Registers ? a : arranged<A>(a, 64), b_placed = arranged<B>(b, N);
  const DeviceArray<T> left(a_placed), right(b_placed);
  const DeviceArray<float> added(c), d(64 * N);
  const Problem<T, N> problem{
      left.data(), right.data(), added.data(), d.data(), uint32_t(a_placed.size() * 2), uint32_t(b_placed.size() * 2)};
  const size_t shared = 8192 + b_placed.size() * 2;
  cuda::launch(multiply<T, N, A, B, Registers>, {dim3(1), dim3(128), shared}, problem);
  auto expected = product(a, b, 64, N, 16);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = 2 * expected[i] + double(c[i]);
  expect_near("wgmma n" + std::to_string(N), d.read(), expected, 1e-5);
}

using Bf16 = __nv_bfloat16;
using KMajor = Layout<false, 128>;

template <int... N>
void test_widths(std::integer_sequence<int, N...>) {
  (test_product<Bf16, (N + 1) * 16, KMajor, KMajor>(), ...);
}

void wgmma_all_widths() { test_widths(std::make_integer_sequence<int, 16>()); }
void wgmma_f16() {
  test_product<__half, 64, KMajor, KMajor>();
  test_product<__half, 64, KMajor, KMajor, true>();
}
void wgmma_k_major() {
  test_product<Bf16, 96, Layout<false, 0>, Layout<false, 0>>();
  test_product<Bf16, 96, Layout<false, 32>, Layout<false, 64>>();
  test_product<Bf16, 96, Layout<false, 64>, Layout<false, 32>>();
}
void wgmma_mn_major_b() {
  test_product<Bf16, 128, KMajor, Layout<true, 128>>();
  test_product<Bf16, 64, KMajor, Layout<true, 64>>();
  test_product<Bf16, 48, KMajor, Layout<true, 32>>();
  test_product<Bf16, 48, KMajor, Layout<true, 0>>();
}
void wgmma_mn_major_a() {
  test_product<Bf16, 32, Layout<true, 128>, KMajor>();
  test_product<Bf16, 32, Layout<true, 64>, Layout<true, 32>>();
  test_product<Bf16, 32, Layout<true, 32>, KMajor>();
  test_product<Bf16, 32, Layout<true, 0>, KMajor>();
}
void wgmma_registers() {
  test_product<Bf16, 64, KMajor, KMajor, true>();
  test_product<Bf16, 128, KMajor, Layout<true, 128>, true>();
  test_product<Bf16, 256, KMajor, KMajor, true>();
}
void wgmma_overwrites() {
  using L = Layout<false, 32>;
  const auto a = values<Bf16>(64 * 16, 1), b = values<Bf16>(64 * 16, 2);
  const auto left = arranged<L>(a, 64), right = arranged<L>(b, 64);
  const DeviceArray<Bf16> a_placed(left), b_placed(right);
  const DeviceArray<float> d(64 * 64);
  const Problem<Bf16, 64> problem{a_placed.data(), b_placed.data(), nullptr, d.data(), 2048, 2048};
  cuda::launch(overwrite<Bf16, 64>, {dim3(1), dim3(128), 8192 + 2048}, problem);
  expect_near("overwritten", d.read(), product(a, b, 64, 64, 16), 1e-5);
}

}  // namespace

Cases wgmma_cases() {
  return {
      {"wgmma_all_widths", 909, wgmma_all_widths}, {"wgmma_f16", 909, wgmma_f16},
      {"wgmma_k_major", 909, wgmma_k_major},       {"wgmma_mn_major_b", 909, wgmma_mn_major_b},
      {"wgmma_mn_major_a", 909, wgmma_mn_major_a}, {"wgmma_registers", 909, wgmma_registers},
      {"wgmma_overwrites", 909, wgmma_overwrites},
  };
}

}  // namespace lowrank::conformance
