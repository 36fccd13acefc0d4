// copy: all conversions
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

// Numbers that round in every way, among them ties, subnormals, overflow and what is not finite.
Values awkward(Fuzz& fuzz, int64_t n) {
  Values x = fuzz.values(n);
  const Values special = {0,         -0.0,  1 + 0x1p-8, 1 + 3 * 0x1p-8, 1 + 0x1p-11, 1 + 0x1p-8 + 0x1p-30,
                          65519.999, 65520, 1e300,      -1e300,         0x1p-24,     0x1p-25,
                          0x1.8p-25, 3e-39, NAN,        INFINITY,       -1e-320,     0x1p-133};
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] *= std::ldexp(1.0, int(fuzz.between(-30, 20)));
    if (i % 3 == 0) x[i] = special[i / 3 % special.size()];
  }
  return x;
}

// x as the CPU's kernel rounds it.
Values rounded_by_cpu(const Values& x, DType to) {
  const auto n = int64_t(x.size());
  OnHost from({n}, x), memory({n}), back({n});
  View narrow = memory;
  narrow.dtype = to;
  cpu::copy(narrow, from);
  cpu::copy(back, narrow);
  return back.values();
}

}  // namespace

KERNEL_CASE(copy_between_floats) {
  for (const DType from : FLOATS)
    for (const DType to : FLOATS) {
      const int64_t n = fuzz.pick<int64_t>({0, 1, 9, 64, 1003});
      const Values x = rounded(awkward(fuzz, n), from);
      const std::string name = std::string(name_of(from)) + " to " + name_of(to);
      OnDevice dx(from, {n}, x, fuzz.pick<int64_t>({0, 0, 1})), dy(to, {n}, nullptr, fuzz.pick<int64_t>({0, 0, 3}));
      cuda::copy(dy, dx);
      const Values got = dy.read(), expected = rounded_by_cpu(x, to);
      for (size_t i = 0; i < got.size(); ++i)
        expect(got[i] == expected[i] || (got[i] != got[i] && expected[i] != expected[i]),
               name + ": " + std::to_string(x[i]) + " became " + std::to_string(got[i]));
    }
}

KERNEL_CASE(copy_of_integers) {
  for (const DType from : {DType::I32, DType::I64, DType::U8})
    for (const DType to : {from, DType::F32}) {
      const int64_t n = fuzz.pick<int64_t>({0, 1, 9, 64, 1003});
      Values x(size_t(n), 0.0);
      for (double& each : x)
        each = from == DType::U8    ? double(fuzz.between(0, 255))
               : from == DType::I32 ? double(fuzz.between(-2147483647, 2147483647))
                                    : double(fuzz.between(-(int64_t(1) << 52), int64_t(1) << 52));
      OnDevice dx(from, {n}, x, fuzz.pick<int64_t>({0, 1})), dy(to, {n}, nullptr, fuzz.pick<int64_t>({0, 1}));
      cuda::copy(dy, dx);
      expect_close(std::string(name_of(from)) + " to " + name_of(to), dy.read(), rounded(x, to), 0);
    }
}

}  // namespace lowrank::testing
