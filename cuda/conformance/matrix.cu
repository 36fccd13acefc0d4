// ldmatrix, stmatrix and mma.sync against their definitions, element by element.

#include "cuda/conformance/case.cuh"

namespace lowrank::conformance {
namespace {

// Eight rows of each of N matrices, row r of matrix m at 16-byte line 8m + r, but turned within the matrix, so that the
// addresses of the lanes matter.
template <int N, bool Transpose>
__global__ void load_matrices(const uint16_t* x, uint32_t* y) {
  SHARED(lines, Array<uint4, 8 * N>);
  const int lane = int(threadIdx.x);
  uint16_t* elements = reinterpret_cast<uint16_t*>(lines);
  for (int i = lane; i < 64 * N; i += 32) {
    const int m = i / 64, row = i / 8 % 8;
    elements[(m * 8 + (row + 3) % 8) * 8 + i % 8] = x[i];
  }
  __syncthreads();
  const int m = lane / 8 % N, row = lane % 8;
  uint32_t r[N];
  ptx::ldmatrix<Transpose>(r, ptx::shared_address(&lines[m * 8 + (row + 3) % 8]));
  for (int i = 0; i < N; ++i) y[lane * N + i] = r[i];
}

template <int N, bool Transpose>
__global__ void store_matrices(const uint32_t* x, uint16_t* y) {
  SHARED(lines, Array<uint4, 8 * N>);
  const int lane = int(threadIdx.x);
  uint32_t r[N];
  for (int i = 0; i < N; ++i) r[i] = x[lane * N + i];
  ptx::stmatrix<Transpose>(ptx::shared_address(&lines[lane % (8 * N)]), r);
  __syncthreads();
  for (int i = lane; i < 64 * N; i += 32) y[i] = reinterpret_cast<uint16_t*>(lines)[i];
}

// What lane l holds of matrices with elements x[m][row][column].
std::vector<uint32_t> fragments(const std::vector<uint16_t>& x, int n, bool transpose) {
  std::vector<uint32_t> y;
  for (int lane = 0; lane < 32; ++lane)
    for (int m = 0; m < n; ++m) {
      const int first = lane / 4, second = lane % 4 * 2;
      const auto at = [&](int row, int column) { return uint32_t(x[size_t(m * 64 + row * 8 + column)]); };
      y.push_back(transpose ? at(second, first) | at(second + 1, first) << 16
                            : at(first, second) | at(first, second + 1) << 16);
    }
  return y;
}

template <int N, bool Transpose>
void test_load() {
  const auto x = iota<uint16_t>(64 * N);
  const DeviceArray<uint16_t> from(x);
  const DeviceArray<uint32_t> to(32 * N);
  cuda::launch(load_matrices<N, Transpose>, 1, 32, from.data(), to.data());
  expect_near("ldmatrix", to.read(), fragments(x, N, Transpose));
}

template <int N, bool Transpose>
void test_store() {
  const auto x = iota<uint16_t>(64 * N);
  const DeviceArray<uint32_t> from(fragments(x, N, Transpose));
  const DeviceArray<uint16_t> to(64 * N);
  cuda::launch(store_matrices<N, Transpose>, 1, 32, from.data(), to.data());
  expect_near("stmatrix", to.read(), x);
}

template <typename T>
__device__ uint32_t pair(T low, T high) {
  uint16_t bits[2];
  memcpy(&bits[0], &low, 2);
  memcpy(&bits[1], &high, 2);
  return bits[0] | uint32_t(bits[1]) << 16;
}

// d[16, 8] = a[16, 16] b[8, 16]^T + c.
template <typename T>
__global__ void multiply(const T* a, const T* b, const float* c, float* d) {
  const int lane = int(threadIdx.x), g = lane / 4, t = lane % 4;
  const auto two = [](const T* row, int column) { return pair(row[column], row[column + 1]); };
  const uint32_t left[4] = {two(a + g * 16, 2 * t), two(a + (g + 8) * 16, 2 * t), two(a + g * 16, 2 * t + 8),
                            two(a + (g + 8) * 16, 2 * t + 8)};
  const uint32_t right[2] = {two(b + g * 16, 2 * t), two(b + g * 16, 2 * t + 8)};
  float sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = c[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  ptx::mma<T>(sums, left, right);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}

// d[16, 8] = a[16, 8] b[8, 8]^T + c.
template <>
__global__ void multiply<float>(const float* a, const float* b, const float* c, float* d) {
  const int lane = int(threadIdx.x), g = lane / 4, t = lane % 4;
  uint32_t left[4], right[2];
  for (int i = 0; i < 4; ++i) left[i] = ptx::to_tf32(a[(g + i % 2 * 8) * 8 + t + i / 2 * 4]);
  for (int i = 0; i < 2; ++i) right[i] = ptx::to_tf32(b[g * 8 + t + i * 4]);
  float sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = c[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  ptx::mma_tf32(sums, left, right);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}

template <typename T>
void test_product(int depth) {
  const auto a = values<T>(size_t(16 * depth), 1), b = values<T>(size_t(8 * depth), 2);
  const auto c = values<float>(16 * 8, 3);
  const DeviceArray<T> left(a), right(b);
  const DeviceArray<float> added(c), d(16 * 8);
  cuda::launch(multiply<T>, 1, 32, left.data(), right.data(), added.data(), d.data());
  auto expected = product(a, b, 16, 8, depth);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] += double(c[i]);
  expect_near("product", d.read(), expected, 1e-6);
}

void mma_m16n8k16_bf16() { test_product<__nv_bfloat16>(16); }
void mma_m16n8k16_f16() { test_product<__half>(16); }
void mma_m16n8k8_tf32() { test_product<float>(8); }

}  // namespace

Cases matrix_cases() {
  return {
      {"ldmatrix_x1", 80, test_load<1, false>},       {"ldmatrix_x2", 80, test_load<2, false>},
      {"ldmatrix_x4", 80, test_load<4, false>},       {"ldmatrix_x1_trans", 80, test_load<1, true>},
      {"ldmatrix_x2_trans", 80, test_load<2, true>},  {"ldmatrix_x4_trans", 80, test_load<4, true>},
      {"stmatrix_x1", 90, test_store<1, false>},      {"stmatrix_x2", 90, test_store<2, false>},
      {"stmatrix_x4", 90, test_store<4, false>},      {"stmatrix_x1_trans", 90, test_store<1, true>},
      {"stmatrix_x2_trans", 90, test_store<2, true>}, {"stmatrix_x4_trans", 90, test_store<4, true>},
      {"mma_m16n8k16_bf16", 80, mma_m16n8k16_bf16},   {"mma_m16n8k16_f16", 80, mma_m16n8k16_f16},
      {"mma_m16n8k8_tf32", 80, mma_m16n8k8_tf32},
  };
}

}  // namespace lowrank::conformance
