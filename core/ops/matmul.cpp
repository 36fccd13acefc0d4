#include "core/ops/checks.h"

namespace lowrank::ops {
namespace {

// b may be a frozen weight that is quantised: dx = dy w.
void check_product(const char* op, const Tensor& a, const Tensor& b, DType dtype) {
  check_same_device(op, a, b);
  const bool wide = a.dtype == DType::F64;
  check(wide == (b.dtype == DType::F64), Code::DType, op, ": ", name_of(a.dtype), " and ", name_of(b.dtype));
  for (const Tensor* t : {&a, &b})
    check(wide || (t->dtype != DType::F64 && is_activation(t->dtype, a.device())) || (t == &b && is_quantized(b.dtype)),
          Code::DType, op, ": no product of ", name_of(t->dtype), "; cast it to f32");
  check(wide == (dtype == DType::F64) && is_activation(dtype, a.device()), Code::DType, op, ": ", name_of(a.dtype),
        " times ", name_of(b.dtype), " gives no ", name_of(dtype), " on ", a.device().name());
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b, Compute compute, DType dtype) {
  check_matrix("matmul", "a", a);
  check_matrix("matmul", "b", b);
  check(!(transpose_a && transpose_b), Code::Unsupported, "matmul: both operands transposed; transpose the product");
  check_product("matmul", a, b, dtype);
  check_compute("matmul", compute, a);
  const int64_t m = a.shape[transpose_a], k = a.shape[!transpose_a], n = b.shape[!transpose_b];
  check(b.shape[transpose_b] == k, Code::Shape, "matmul: ", a.shape, transpose_a ? "^T" : "", " x ", b.shape,
        transpose_b ? "^T" : "", " do not match");
  auto y = Tensor::empty(a.device(), {m, n}, dtype);
  run(a.device(), "matmul", a.device().kernels.matmul, y.view(), a.view(), b.view(), transpose_a, transpose_b, compute);
  return y;
}

}  // namespace lowrank::ops
