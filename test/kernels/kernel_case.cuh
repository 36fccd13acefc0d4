#pragma once
// Tests of kernels through the calls of core/kernels.h, without Node: the emulator runs them on the CPU, and nvcc makes
// the same file a program for a GPU. Expected values are those of the CPU's f64 template.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/kernels.h"
#include "cuda/launch.cuh"

namespace lowrank::testing {

using Values = std::vector<double>;

// Reproducible choices: of shapes, of data.
struct Random {
  uint64_t bits() {
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return state * 2685821657736338717ull;
  }
  double uniform() { return double(bits() >> 11) * 0x1p-53; }  // [0, 1)
  int64_t between(int64_t low, int64_t high) { return low + int64_t(uniform() * double(high - low + 1)); }
  template <typename T>
  T pick(std::initializer_list<T> choices) {
    return choices.begin()[size_t(between(0, int64_t(choices.size()) - 1))];
  }
  // Bell-shaped, mean 0.
  Values values(int64_t n, double deviation = 1) {
    Values all(size_t(n), 0.0);
    for (double& x : all) x = deviation * 1.7320508 * (uniform() + uniform() + uniform() + uniform() - 2);
    return all;
  }
  uint64_t state = 88172645463325252ull;
};

// x as `dtype` holds it.
double rounded(double x, DType dtype);
Values rounded(Values x, DType dtype);
double rounded_to_tf32(double x);  // f32 of 10 bits of mantissa, ties away from zero

// A tensor on the device between bands of NaN that read() checks. Values given are rounded to the dtype (I8, NF4:
// quantised by the CPU); without any the tensor is NaN. The offset, in elements, breaks the alignment of the first one.
class OnDevice {
 public:
  OnDevice(DType dtype, std::vector<int64_t> dims, const Values* values = nullptr, int64_t offset = 0);
  OnDevice(DType dtype, std::vector<int64_t> dims, const Values& values, int64_t offset = 0)
      : OnDevice(dtype, std::move(dims), &values, offset) {}
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  View view() const { return view_; }
  operator View() const { return view_; }
  Values read() const;                       // waits for the device
  std::vector<unsigned char> bytes() const;  // likewise, for comparisons of bits

 private:
  void check_bands(const std::vector<unsigned char>& all) const;
  View view_;
  char* memory_ = nullptr;
  size_t size_ = 0, before_ = 0;
};

// f64 (or i32) in host memory, for the CPU's kernels.
class OnHost {
 public:
  OnHost(std::vector<int64_t> dims, Values values);
  explicit OnHost(std::vector<int64_t> dims);  // zeros
  OnHost(std::vector<int64_t> dims, std::vector<int32_t> values);
  View view() const { return view_; }
  operator View() const { return view_; }
  const Values& values() const { return values_; }
  OnHost(const OnHost&) = delete;
  OnHost& operator=(const OnHost&) = delete;

 private:
  Values values_;
  std::vector<int32_t> integers_;
  View view_;
};

double largest(const Values& values);  // of the magnitudes
Values magnitudes(Values values);

// Fails where |got - expected| exceeds relative * (largest |expected|) + absolute, or is NaN where expected is not.
void expect_close(const std::string& what, const Values& got, const Values& expected, double relative,
                  double absolute = 0);
// The share of the terms' magnitudes that tensor cores may lose of a sum of k: they add 16 at a time, which they may
// truncate to 23 bits of the largest.
double truncation_of(int64_t k);
// As expect_close for sums in f32 or f64, whose rounding errors grow with their terms, which may cancel one another:
// `bound` is what the terms' magnitudes add up to. k: how many terms tensor cores add.
void expect_sums(const std::string& what, const Values& got, const Values& expected, const Values& bound, DType dtype,
                 int64_t k = 0);
// The rule for half precision: error <= factor * the error of a plain implementation of that precision, both against
// `expected`, or half a unit in the last place, plus `absolute`.
void expect_as_good(const std::string& what, const Values& got, const Values& plain, const Values& expected,
                    DType dtype, double absolute = 0, double factor = 2);
// What a kernel owes whose only rounding is that of its result: f64 to 1e-12 and f32 to 2e-6 of the largest value, half
// precision to a unit in the last place.
void expect_accurate(const std::string& what, const Values& got, const Values& expected, DType dtype);
// NaN and infinities in the same places.
void expect_same_kinds(const std::string& what, const Values& got, const Values& expected);
void expect_same_bits(const std::string& what, const OnDevice& got, const OnDevice& expected);
void expect(bool ok, const std::string& what);

constexpr DType FLOATS[] = {DType::F32, DType::F64, DType::BF16, DType::F16};

// Of all bytes that OnDevice read since it was set to 0: equal runs have equal digests.
uint64_t& digest();

// A case runs once per seed, and once more with the kernels of sm_80 where there are others for this device.
struct Fuzz : Random {
  uint64_t seed = 1;
};
struct KernelCase {
  const char* name;
  void (*body)(Fuzz& fuzz);
};
std::vector<KernelCase>& kernel_cases();
struct KernelRegistration {
  KernelRegistration(const char* name, void (*body)(Fuzz&)) { kernel_cases().push_back({name, body}); }
};
#define KERNEL_CASE(name)                                                                                              \
  static void name(::lowrank::testing::Fuzz& fuzz);                                                                    \
  static const ::lowrank::testing::KernelRegistration name##_case(#name, name);                                        \
  static void name([[maybe_unused]] ::lowrank::testing::Fuzz& fuzz)

}  // namespace lowrank::testing
