// gated_activation, gated_activation_backward
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

void check_output(const std::string& what, const OnDevice& got, const Values& expected) {
  const DType dtype = got.view().dtype;
  if (dtype == DType::F64) return expect_close(what, got.read(), expected, 1e-14);
  if (dtype == DType::F32) return expect_close(what, got.read(), expected, 2e-6);
  expect_as_good(what, got.read(), rounded(expected, dtype), expected, dtype);
}

void gated(Fuzz& fuzz, DType dtype, Activation kind) {
  const int64_t n = fuzz.pick<int64_t>({1, 7, 64, 777, 2100}), offset = fuzz.pick<int64_t>({0, 0, 1});
  const Values dy = rounded(fuzz.values(n), dtype), gate = rounded(fuzz.values(n, 3), dtype);
  const Values up = rounded(fuzz.values(n), dtype);
  OnHost ey({n}), eg({n}), eu({n}), hd({n}, dy), hg({n}, gate), hu({n}, up);
  cpu::gated_activation(ey, hg, hu, kind);
  cpu::gated_activation_backward(eg, eu, hd, hg, hu, kind);
  OnDevice y(dtype, {n}, nullptr, offset), dup(dtype, {n}), dd(dtype, {n}, dy, offset), g(dtype, {n}, gate, offset);
  OnDevice u(dtype, {n}, up, offset), dgate(dtype, {n});
  cuda::gated_activation(y, g, u, kind);
  check_output("y", y, ey.values());
  cuda::gated_activation_backward(dgate, dup, dd, g, u, kind);
  check_output("dgate", dgate, eg.values());
  check_output("dup", dup, eu.values());
  cuda::gated_activation_backward(dd, dup, dd, g, u, kind);
  expect_same_bits("dgate in place", dd, dgate);
}

}  // namespace

KERNEL_CASE(gated_activation_of_any_length) {
  for (const DType dtype : {DType::F32, DType::F64, DType::BF16, DType::F16})
    for (const Activation kind : {Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::Relu})
      gated(fuzz, dtype, kind);
}

}  // namespace lowrank::testing
