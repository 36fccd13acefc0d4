// y = x w^T + bias: one product (cuda/gemm/), of operands along k; the bias is added, and rows are turned, in its
// epilogue. Few rows beside a quantised weight have a kernel that reads its codes.

#include "cuda/gemm/quantized_rows.cuh"
#include "cuda/gemm/weights.cuh"

namespace lowrank {

void cuda::linear(View y, View x, View w, View bias, Compute compute, Rope rope) {
  gemm::Product p;
  p.type = gemm::product_type(x.dtype, compute);
  p.tf32 = compute == Compute::TF32;
  p.m = y.rows(), p.n = y.cols();
  p.bias = bias, p.y = y, p.rope = rope;
  if (gemm::suits_quantized(x, w)) return gemm::multiply_quantized(p, x, w);
  p.segments = 1;
  Scratch left(Owner::Left), right(Owner::Right);
  p.segment[0] = {x.cols(), gemm::operand_in(x, p.type, true, left), gemm::operand_in(w, p.type, true, right)};
  gemm::multiply(p);
}

}  // namespace lowrank
