// CUDA's own intrinsics: bits, conversions, half precision, reductions of a warp, atomics, variables of the device.

#include "cuda/conformance/case.cuh"

namespace lowrank::conformance {
namespace {

__global__ void bit_functions(const uint32_t* x, uint32_t* y, int n) {
  const int i = int(threadIdx.x);
  if (i >= n) return;
  const uint32_t a = x[i], b = x[(i + 1) % n];
  const uint32_t results[] = {__byte_perm(a, b, 0x6f30),
                              __byte_perm(a, b, 0x5140),
                              __funnelshift_l(a, b, 11),
                              __funnelshift_r(a, b, 43),
                              __brev(a),
                              uint32_t(__popc(a)),
                              uint32_t(__clz(int(a))),
                              uint32_t(__ffs(int(a))),
                              uint32_t(__mulhi(int(a), int(b))),
                              uint32_t(__dp4a(int(a), int(b), 5)),
                              __vcmpltu4(a, b)};
  for (int k = 0; k < 11; ++k) y[k * n + i] = results[k];
}

uint32_t byte_of(uint32_t a, uint32_t b, int i) { return (i < 4 ? a >> 8 * i : b >> 8 * (i - 4)) & 0xff; }

std::vector<uint32_t> expected_bits(uint32_t a, uint32_t b) {
  uint32_t reversed = 0, ones = 0, dot = 5, less = 0;
  int leading = 32, first = 0;
  for (int i = 0; i < 32; ++i) {
    const uint32_t bit = a >> i & 1;
    ones += bit;
    reversed = reversed << 1 | bit;
    if (bit) leading = 31 - i;
    if (bit && !first) first = i + 1;
  }
  for (int i = 0; i < 4; ++i) dot += uint32_t(int(int8_t(a >> 8 * i)) * int(int8_t(b >> 8 * i)));
  for (int i = 0; i < 4; ++i)
    if (byte_of(a, b, i) < byte_of(a, b, i + 4)) less += 255u << 8 * i;
  // Selector 0x6f30, lowest nibble first: bytes 0 and 3, the sign of byte 7 repeated, byte 6.
  const uint32_t sign = byte_of(a, b, 7) & 0x80 ? 0xffu : 0;
  return {byte_of(a, b, 0) | byte_of(a, b, 3) << 8 | sign << 16 | byte_of(a, b, 6) << 24,
          byte_of(a, b, 0) | byte_of(a, b, 4) << 8 | byte_of(a, b, 1) << 16 | byte_of(a, b, 5) << 24,
          b << 11 | a >> 21,
          a >> 11 | b << 21,
          reversed,
          ones,
          uint32_t(leading),
          uint32_t(first),
          uint32_t(int64_t(int32_t(a)) * int64_t(int32_t(b)) >> 32),
          dot,
          less};
}

__global__ void conversions(const float* x, int* y, int n) {
  const int i = int(threadIdx.x);
  if (i >= n) return;
  y[i] = __float2int_rn(x[i]);
  y[n + i] = __float2int_rz(x[i]);
  y[2 * n + i] = __float2int_rd(x[i]);
  y[3 * n + i] = __float2int_ru(x[i]);
  y[4 * n + i] = int(rintf(x[i]));
  y[5 * n + i] = int(__fmaf_rn(x[i], 4.0f, 1.0f));
  y[6 * n + i] = int(100 * erff(x[i]));
  y[7 * n + i] = int(__saturatef(x[i]) * 8);
}

template <typename T2, typename T>
__device__ void two_by_two(T* y, int i, T2 a, T2 b) {
  const T2 results[] = {__hadd2(a, b), __hmul2(a, b), __hfma2(a, b, a), __hmax2(a, b)};
  for (int k = 0; k < 4; ++k) {
    y[8 * i + 2 * k] = results[k].x;
    y[8 * i + 2 * k + 1] = results[k].y;
  }
}
__global__ void half_pairs(const __half* x, __half* y, const __nv_bfloat16* u, __nv_bfloat16* v) {
  const int i = int(threadIdx.x);
  two_by_two(y, i, __halves2half2(x[2 * i], x[2 * i + 1]), __halves2half2(x[64 + 2 * i], x[65 + 2 * i]));
  two_by_two(v, i, __halves2bfloat162(u[2 * i], u[2 * i + 1]), __halves2bfloat162(u[64 + 2 * i], u[65 + 2 * i]));
}

template <typename T>
std::vector<T> expected_pairs(const std::vector<T>& x) {
  std::vector<T> y;
  for (size_t i = 0; i < 32; ++i)
    for (int k = 0; k < 4; ++k)
      for (size_t j = 2 * i; j < 2 * i + 2; ++j) {
        const double a = double(float(x[j])), b = double(float(x[64 + j]));
        const double results[] = {a + b, a * b, a * b + a, a > b ? a : b};
        y.push_back(T(results[k]));
      }
  return y;
}

__global__ void warp_reductions(uint32_t* y) {
  const int lane = int(threadIdx.x);
  const unsigned value = unsigned(lane * 7 % 32) + 1;
  y[lane] = __reduce_add_sync(~0u, value);
  y[32 + lane] = __reduce_max_sync(~0u, value);
  y[64 + lane] = __reduce_min_sync(~0u, value);
  y[96 + lane] = __reduce_or_sync(~0u, 1u << lane % 5);
  y[128 + lane] = __match_any_sync(~0u, lane % 3);
}

__global__ void atomics(unsigned* y) {
  atomicAdd(y, threadIdx.x);
  atomicMax(y + 1, threadIdx.x * 3 % 64);
  atomicMin(y + 2, 100 - threadIdx.x);
  atomicOr(y + 3, 1u << threadIdx.x % 7);
  atomicInc(y + 4, 9);
  unsigned seen = y[5], expected;
  do {
    expected = seen;
    seen = atomicCAS(y + 5, expected, expected * 2);
  } while (seen != expected);
}

__constant__ float levels[4];
__device__ int tally[2] = {5, 6};
__global__ void device_variables(float* y) {
  y[threadIdx.x] = levels[threadIdx.x % 4] + float(tally[0]);
  if (threadIdx.x == 0) tally[1] = 77;
}

void bits_of_integers() {
  const std::vector<uint32_t> x = {0x80c1f2a3, 0, 0xffffffff, 0x00010000, 0x7f3e8d01, 0x12345678};
  const size_t n = x.size();
  const DeviceArray<uint32_t> from(x), y(11 * n);
  cuda::launch(bit_functions, 1, 32, from.data(), y.data(), int(n));
  std::vector<uint32_t> expected(11 * n);
  for (size_t i = 0; i < n; ++i) {
    const auto each = expected_bits(x[i], x[(i + 1) % n]);
    for (size_t k = 0; k < 11; ++k) expected[k * n + i] = each[k];
  }
  expect_near("bits", y.read(), expected);
}

void float_to_integer() {
  const std::vector<float> x = {0.5f, 1.5f, -0.5f, -2.5f, 2.75f, -3.25f, 0};
  const DeviceArray<float> from(x);
  const DeviceArray<int> y(8 * x.size());
  cuda::launch(conversions, 1, 32, from.data(), y.data(), int(x.size()));
  const std::vector<int> expected = {0,  2,  0,   -2, 3,  -3, 0,   0,   1,  0,   -2, 2, -3, 0, 0,  1, -1, -3, 2,
                                     -4, 0,  1,   2,  0,  -2, 3,   -3,  0,  0,   2,  0, -2, 3, -3, 0, 3,  7,  -1,
                                     -9, 12, -12, 1,  52, 96, -52, -99, 99, -99, 0,  4, 8,  0, 0,  8, 0,  0};
  expect_near("conversions", y.read(), expected);
}

void arithmetic_of_half_pairs() {
  const auto x = values<__half>(128, 1);
  const auto u = values<__nv_bfloat16>(128, 2);
  const DeviceArray<__half> from(x), y(256);
  const DeviceArray<__nv_bfloat16> from_bf16(u), v(256);
  cuda::launch(half_pairs, 1, 32, from.data(), y.data(), from_bf16.data(), v.data());
  expect_near("f16", y.read(), expected_pairs(x));
  expect_near("bf16", v.read(), expected_pairs(u));
}

void reductions_of_a_warp() {
  const DeviceArray<uint32_t> y(160);
  cuda::launch(warp_reductions, 1, 32, y.data());
  std::vector<uint32_t> expected;
  for (const uint32_t value : {528u, 32u, 1u, 31u}) expected.insert(expected.end(), 32, value);
  for (int lane = 0; lane < 32; ++lane) {
    uint32_t same = 0;
    for (int other = lane % 3; other < 32; other += 3) same |= 1u << other;
    expected.push_back(same);
  }
  expect_near("reductions", y.read(), expected);
}

void atomics_of_a_block() {
  const DeviceArray<unsigned> y(std::vector<unsigned>{0, 0, 1000, 0, 0, 1});
  cuda::launch(atomics, 1, 30, y.data());
  // 0 + … + 29; the largest 3 i mod 64; 100 - 29; all of 7 bits; 30 arrivals modulo 10; 2^30.
  expect_near("atomics", y.read(), std::vector<unsigned>{435, 63, 71, 127, 0, 1u << 30});
}

void variables_of_the_device() {
  const float values[] = {1, 2, 4, 8};
  cuda::check_cuda(cudaMemcpyToSymbolAsync(levels, values, sizeof values, 0, cudaMemcpyHostToDevice, cuda::stream()),
                   "cudaMemcpyToSymbol");
  const DeviceArray<float> y(8);
  cuda::launch(device_variables, 1, 8, y.data());
  expect_near("levels", y.read(), std::vector<float>{6, 7, 9, 13, 6, 7, 9, 13});
  int after[2] = {};
  cuda::check_cuda(cudaMemcpyFromSymbolAsync(after, tally, sizeof after, 0, cudaMemcpyDeviceToHost, cuda::stream()),
                   "cudaMemcpyFromSymbol");
  cuda::check_cuda(cudaStreamSynchronize(cuda::stream()), "cudaStreamSynchronize");
  expect_near("tally", std::vector<int>{after[0], after[1]}, std::vector<int>{5, 77});
}

}  // namespace

Cases intrinsics_cases() {
  return {
      {"bits_of_integers", 80, bits_of_integers},
      {"float_to_integer", 80, float_to_integer},
      {"arithmetic_of_half_pairs", 80, arithmetic_of_half_pairs},
      {"reductions_of_a_warp", 80, reductions_of_a_warp},
      {"atomics_of_a_block", 80, atomics_of_a_block},
      {"variables_of_the_device", 80, variables_of_the_device},
  };
}

}  // namespace lowrank::conformance
