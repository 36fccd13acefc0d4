// fill, add
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {

KERNEL_CASE(add_of_any_length) {
  for (const DType dtype : {DType::F32, DType::F64, DType::BF16, DType::F16}) {
    const int64_t n = fuzz.pick<int64_t>({1, 7, 256, 1000, 4099}), offset = fuzz.pick<int64_t>({0, 0, 1, 3});
    const Values a = rounded(fuzz.values(n), dtype), b = rounded(fuzz.values(n), dtype);
    OnHost expected({n}), ha({n}, a), hb({n}, b);
    cpu::add(expected, ha, hb);
    OnDevice y(dtype, {n}, nullptr, offset), da(dtype, {n}, a, offset), db(dtype, {n}, b, offset);
    cuda::add(y, da, db);
    expect_close("add", y.read(), rounded(expected.values(), dtype), 0);
  }
}

}  // namespace lowrank::testing
