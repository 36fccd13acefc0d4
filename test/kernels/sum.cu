// sum_rows, sum, sum_squares
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

DType sums_of(DType dtype) { return dtype == DType::F64 ? DType::F64 : DType::F32; }

}  // namespace

KERNEL_CASE(sum_rows_of_any_shape) {
  for (const DType dtype : FLOATS) {
    const int64_t rows = fuzz.pick<int64_t>({0, 1, 5, 64, 65, 200}),
                  cols = fuzz.pick<int64_t>({1, 3, 32, 100, 256, 264});
    const Values x = rounded(fuzz.values(rows * cols), dtype);
    OnHost y({cols}), hx({rows, cols}, x);
    cpu::sum_rows(y, hx);
    OnDevice dy(sums_of(dtype), {cols}), dx(dtype, {rows, cols}, x, fuzz.pick<int64_t>({0, 0, 1}));
    cuda::sum_rows(dy, dx);
    Values magnitudes(size_t(cols), 0.0);
    for (size_t i = 0; i < x.size(); ++i) magnitudes[i % size_t(cols)] += std::fabs(x[i]);
    expect_sums("sum_rows", dy.read(), y.values(), magnitudes, sums_of(dtype), 0);
  }
}

// More rows than 256 pieces of 64.
KERNEL_CASE(sum_rows_of_many_rows) {
  const int64_t rows = 256 * 64 + fuzz.between(1, 700);
  const Values x = fuzz.values(rows * 2);
  OnHost y({2}), hx({rows, 2}, x);
  cpu::sum_rows(y, hx);
  OnDevice dy(DType::F64, {2}), dx(DType::F64, {rows, 2}, x);
  cuda::sum_rows(dy, dx);
  expect_close("sum_rows", dy.read(), y.values(), 1e-12, 1e-11);
}

KERNEL_CASE(totals_of_any_length) {
  for (const DType dtype : FLOATS) {
    const int64_t n = fuzz.pick<int64_t>({0, 1, 5, 1024, 4099, 20000}), offset = fuzz.pick<int64_t>({0, 0, 1});
    Values x = rounded(fuzz.values(n), dtype);
    for (double& each : x) each = rounded(each + 0.5, dtype);  // else the sum is what cancellation leaves
    OnHost sum({1}), squares({1}), hx({n}, x);
    cpu::sum(sum, hx);
    cpu::sum_squares(squares, hx);
    OnDevice dx(dtype, {n}, x, offset), y(sums_of(dtype), {1}), z(fuzz.pick({DType::F32, DType::F64}), {1});
    cuda::sum(y, dx);
    cuda::sum_squares(z, dx);
    const double tolerance = dtype == DType::F64 ? 1e-12 : 1e-6;
    expect_close("sum", y.read(), sum.values(), tolerance);
    expect_close("sum_squares", z.read(), squares.values(), z.view().dtype == DType::F64 ? tolerance : 1e-6);
  }
}

}  // namespace lowrank::testing
