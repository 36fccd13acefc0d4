#include "core/kernels.h"
#include "cpu/gemm/gemm.h"
#include "cpu/gemm/spec.h"

namespace lowrank::cpu {

namespace {

void multiply(View y, View x, View w, View bias, Compute compute) {
  if (y.dtype == DType::F64) return spec::linear<double>(y, x, w, bias, compute);
  gemm::Product p = {y.rows(), y.cols(), x.cols(), gemm::operand(x, true), gemm::operand(w, true), y.as<float>()};
  p.bias = bias.as<float>();
  p.compute = compute;
  gemm::multiply(p);
}

}  // namespace

void linear(View y, View x, View w, View bias, Compute compute, Rope turn) {
  multiply(y, x, w, bias, compute);
  if (turn) rope(y, View{}, y, View{}, turn.positions, turn.table, turn.head_dim, turn.interleaved, false);
}

}  // namespace lowrank::cpu
