// adamw
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

// Slices with gaps and odd ends, some of them empty; begins are multiples of `align`.
Values any_slices(Fuzz& fuzz, int64_t count, int64_t align, int64_t* size) {
  Values table;
  int64_t end = fuzz.pick<int64_t>({0, align});
  for (int64_t s = 0; s < count; ++s) {
    const int64_t begin = (end + align - 1) / align * align;
    end = begin + fuzz.pick<int64_t>({0, 1, 3, 64, 130, 1000, 3000});
    table.insert(table.end(), {double(begin), double(end), fuzz.pick({1.0, 0.5}), fuzz.pick({1.0, 0.0, 2.0})});
  }
  *size = end + fuzz.pick<int64_t>({0, 5});
  return table;
}

Values squares(Fuzz& fuzz, int64_t n) {
  Values x = fuzz.values(n, 0.1);
  for (double& each : x) each *= each;
  return x;
}

}  // namespace

KERNEL_CASE(adamw_over_any_slices) {
  for (const DType dtype : {DType::F32, DType::F64}) {
    int64_t n = 0;
    const int64_t count = fuzz.pick<int64_t>({0, 1, 7, 40}), offset = fuzz.pick<int64_t>({0, 0, 1});
    const Values slices = any_slices(fuzz, count, fuzz.pick<int64_t>({64, 64, 1}), &n);
    const Values p = rounded(fuzz.values(n), dtype), g = rounded(fuzz.values(n, 3), dtype),
                 m = rounded(fuzz.values(n, 0.1), dtype), v = rounded(squares(fuzz, n), dtype);
    const DType wide = fuzz.pick({DType::F32, DType::F64});
    const Values norm = {rounded(fuzz.pick({0.01, 9.0, 4e4}), wide)};
    const AdamW options = {1e-2, 0.9, 0.999, 1e-8, 0.1, fuzz.pick({0.0, 1.0}), fuzz.pick<int64_t>({1, 2, 1000})};
    OnHost hp({n}, p), hg({n}, g), hm({n}, m), hv({n}, v), hslices({count, 4}, slices), hnorm({1}, norm);
    cpu::adamw(hp, hg, hm, hv, hslices, hnorm, options);
    OnDevice dp(dtype, {n}, p, offset), dg(dtype, {n}, g), dm(dtype, {n}, m), dv(dtype, {n}, v, offset);
    OnDevice dslices(DType::F64, {count, 4}, slices), dnorm(wide, {1}, norm);
    cuda::adamw(dp, dg, dm, dv, dslices, dnorm, options);
    expect_accurate("adamw: p", dp.read(), hp.values(), dtype);
    expect_accurate("adamw: m", dm.read(), hm.values(), dtype);
    expect_accurate("adamw: v", dv.read(), hv.values(), dtype);
  }
}

}  // namespace lowrank::testing
