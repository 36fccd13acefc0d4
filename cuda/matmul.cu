// y = op(a) op(b): one product (cuda/gemm/). The operands lie along k or across it, as they are or transposed; none is
// copied but to change its type.

#include "cuda/gemm/weights.cuh"

namespace lowrank {
namespace {

using namespace cuda;

// Half precision where the result or the left factor has it; else as `compute` says, so that f32 activations beside
// frozen weights of half precision keep f32.
DType type_of(const View& y, const View& a, Compute compute) {
  const auto half = [](const View& x) { return x.dtype == DType::BF16 || x.dtype == DType::F16; };
  return half(y) ? y.dtype : half(a) ? a.dtype : gemm::product_type(a.dtype, compute);
}

}  // namespace

void cuda::matmul(View y, View a, View b, bool transpose_a, bool transpose_b, Compute compute) {
  gemm::Product p;
  p.type = type_of(y, a, compute);
  p.tf32 = compute == Compute::TF32;
  p.m = y.rows(), p.n = y.cols();
  p.segments = 1;
  Scratch left(Owner::Left), right(Owner::Right);
  p.segment[0] = {a.dims[transpose_a ? 0 : 1], gemm::operand_in(a, p.type, !transpose_a, left),
                  gemm::operand_in(b, p.type, transpose_b, right)};
  p.y = y;
  gemm::multiply(p);
}

}  // namespace lowrank
