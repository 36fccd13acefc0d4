// Shuffles, votes, register counts, fences, approximations.

#include "cuda/conformance/case.cuh"

namespace lowrank::conformance {
namespace {

__global__ void shuffles(int* y) {
  const int lane = int(threadIdx.x);
  y[lane] = ptx::shuffle(lane * 3, (lane * 5) % 32);
  y[32 + lane] = ptx::shuffle_up(lane, 3);
  y[64 + lane] = ptx::shuffle_xor(lane, 9);
}

__global__ void votes(uint32_t* y) {
  const int lane = int(threadIdx.x);
  y[lane] = ptx::ballot(lane % 3 == 0);
  y[32 + lane] = ptx::ballot(lane > 40);
}

__global__ void __launch_bounds__(256, 1) registers(int* y) {
  if (threadIdx.x < 128) ptx::registers_down<40>();
  else ptx::registers_up<232>();
  y[threadIdx.x] = int(threadIdx.x);
}

__global__ void approximations(const float* x, float* y, uint32_t* bits, int n) {
  const int i = int(threadIdx.x);
  if (i >= n) return;
  y[i] = ptx::exp2_approx(x[i]);
  bits[i] = ptx::to_tf32(x[i]);
}

// A value, a fence, a flag: the last of two blocks to arrive sees what both wrote.
__global__ void hand_over(int* parts, int* arrived, int* sum) {
  if (threadIdx.x != 0) return;
  parts[blockIdx.x] = int(blockIdx.x) + 20;
  __threadfence();
  if (atomicAdd(arrived, 1) == 1) *sum = *(volatile int*)&parts[0] + *(volatile int*)&parts[1];
}

void shuffle_all_modes() {
  const DeviceArray<int> y(96);
  cuda::launch(shuffles, 1, 32, y.data());
  std::vector<int> expected(96);
  for (int lane = 0; lane < 32; ++lane) {
    expected[size_t(lane)] = (lane * 5) % 32 * 3;
    expected[size_t(32 + lane)] = lane < 3 ? lane : lane - 3;
    expected[size_t(64 + lane)] = (lane & ~9) | (~lane & 9);
  }
  expect_near("shuffles", y.read(), expected);
}

void votes_of_a_warp() {
  const DeviceArray<uint32_t> y(64);
  cuda::launch(votes, 1, 32, y.data());
  uint32_t thirds = 0;
  for (int lane = 0; lane < 32; lane += 3) thirds |= 1u << lane;
  std::vector<uint32_t> expected;
  for (const uint32_t value : {thirds, 0u}) expected.insert(expected.end(), 32, value);
  expect_near("votes", y.read(), expected);
}

void registers_up_and_down() {
  const DeviceArray<int> y(256);
  cuda::launch(registers, 1, 256, y.data());
  expect_near("setmaxnreg", y.read(), iota<int>(256));
}

void fence_hand_over() {
  const DeviceArray<int> parts(2), arrived(std::vector<int>{0}), sum(1);
  cuda::launch(hand_over, 2, 32, parts.data(), arrived.data(), sum.data());
  expect_near("sum", sum.read(), std::vector<int>{41});
}

void approximate_functions() {
  const std::vector<float> x = {0, 1, -1, 0.3f, -7.9f, 12.25f, 1.00048828125f, -1.00146484375f, 3.14159274f};
  const int n = int(x.size());
  const DeviceArray<float> from(x), y(x.size());
  const DeviceArray<uint32_t> bits(x.size());
  cuda::launch(approximations, 1, 32, from.data(), y.data(), bits.data(), n);
  std::vector<double> expected, rounded;
  for (const float each : x) expected.push_back(std::exp2(double(each)));
  expect_near("exp2", y.read(), expected, 1e-6);
  // To 11 significant bits, ties away from zero.
  std::vector<float> got;
  for (const uint32_t each : bits.read()) {
    float value;
    std::memcpy(&value, &each, 4);
    got.push_back(value);
  }
  for (const float each : x) {
    int exponent = 0;
    const double mantissa = std::frexp(double(each), &exponent);
    rounded.push_back(std::ldexp(std::round(std::ldexp(mantissa, 11)), exponent - 11));
  }
  expect_near("tf32", got, rounded);
}

}  // namespace

Cases warp_cases() {
  return {
      {"shuffle_all_modes", 80, shuffle_all_modes},          {"votes_of_a_warp", 80, votes_of_a_warp},
      {"registers_up_and_down", 909, registers_up_and_down}, {"fence_hand_over", 80, fence_hand_over},
      {"approximate_functions", 80, approximate_functions},
  };
}

}  // namespace lowrank::conformance
