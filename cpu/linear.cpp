#include "core/kernels.h"
#include "cpu/gemm/gemm.h"
#include "cpu/gemm/spec.h"
#include "cpu/half.h"
#include "cpu/pieces.h"

namespace lowrank::cpu {

namespace {

void multiply(View y, View x, View w, View bias, Compute compute) {
  if (y.dtype == DType::F64) return spec::linear<double>(y, x, w, bias, compute);
  gemm::Product p = {y.rows(), y.cols(), x.cols(), gemm::operand(x, true), gemm::operand(w, true), nullptr};
  gemm::write_to(p, y);
  const Weight<float> shift(bias);
  p.bias = shift.data;
  p.compute = compute;
  gemm::multiply(p);
}

}  // namespace

void linear(View y, View x, View w, View bias, Compute compute, Rope turn) {
  turned(y, turn, [&](View rows) { multiply(rows, x, w, bias, compute); });
}

}  // namespace lowrank::cpu
