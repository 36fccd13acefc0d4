#include "core/kernels.h"
#include "cpu/gemm/gemm.h"
#include "cpu/gemm/spec.h"

namespace lowrank::cpu {

void matmul(View y, View a, View b, bool transpose_a, bool transpose_b, Compute compute) {
  if (y.dtype == DType::F64) return spec::matmul<double>(y, a, b, transpose_a, transpose_b, compute);
  gemm::Product p = {y.rows(),
                     y.cols(),
                     transpose_a ? a.rows() : a.cols(),
                     gemm::operand(a, !transpose_a),
                     gemm::operand(b, transpose_b),
                     nullptr};
  gemm::write_to(p, y);
  p.compute = compute;
  gemm::multiply(p);
}

}  // namespace lowrank::cpu
