#include "core/ops/checks.h"

namespace lowrank::ops {
namespace {

DType product_dtype(const char* op, const Tensor& a, const Tensor& b) {
  check_same_device(op, a, b);
  const bool wide = a.dtype == DType::F64;
  check(wide == (b.dtype == DType::F64), Code::DType, op, ": ", name_of(a.dtype), " and ", name_of(b.dtype));
  for (const Tensor* t : {&a, &b})
    check(wide || t->dtype == DType::F32 || t->dtype == DType::BF16, Code::DType, op, ": no product of ",
          name_of(t->dtype), "; cast it to f32");
  return wide ? DType::F64 : DType::F32;
}

void check_bias(const char* op, Maybe bias, const Tensor& x, int64_t out) {
  if (!bias) return;
  check_like(op, "bias", *bias, x);
  check_shape(op, "bias", *bias, {out});
}

void check_linear(const char* op, const Tensor& x, const Tensor& w) {
  check_float(op, "x", x);
  check_matrix(op, "x", x);
  check_matrix(op, "weight", w);
  check_weight(op, "weight", w, x);
  check(w.shape[1] == x.shape[1], Code::Shape, op, ": weight ", w.shape, " does not match x ", x.shape);
}

void check_factors(const char* op, const Tensor& x, const Tensor& w, const Tensor& a, const Tensor& b) {
  check_like(op, "A", a, x);
  check_like(op, "B", b, x);
  check_matrix(op, "A", a);
  check(a.shape[1] == w.shape[1], Code::Shape, op, ": A ", a.shape, " does not match weight ", w.shape);
  check_shape(op, "B", b, {w.shape[0], a.shape[0]});
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b, Compute compute) {
  check_matrix("matmul", "a", a);
  check_matrix("matmul", "b", b);
  check(!(transpose_a && transpose_b), Code::Unsupported, "matmul: both operands transposed; transpose the product");
  const DType dtype = product_dtype("matmul", a, b);
  const int64_t m = a.shape[transpose_a], k = a.shape[!transpose_a], n = b.shape[!transpose_b];
  check(b.shape[transpose_b] == k, Code::Shape, "matmul: ", a.shape, transpose_a ? "^T" : "", " x ", b.shape,
        transpose_b ? "^T" : "", " do not match");
  auto y = Tensor::empty(a.device(), {m, n}, dtype);
  run(a.device(), "matmul", a.device().kernels.matmul, y.view(), a.view(), b.view(), transpose_a, transpose_b, compute);
  return y;
}

Tensor linear(const Tensor& x, const Tensor& w, Maybe bias, Compute compute) {
  check_linear("linear", x, w);
  check_bias("linear", bias, x, w.shape[0]);
  auto y = Tensor::empty(x.device(), {x.shape[0], w.shape[0]}, x.dtype);
  run(x.device(), "linear", x.device().kernels.linear, y.view(), x.view(), w.view(), view_of(bias), compute);
  return y;
}

Tensors lora_linear(const Tensor& x, const Tensor& w, Maybe bias, const Tensor& a, const Tensor& b, double scale,
                    Dropout dropout, Compute compute) {
  check_linear("loraLinear", x, w);
  check_bias("loraLinear", bias, x, w.shape[0]);
  check_factors("loraLinear", x, w, a, b);
  auto y = Tensor::empty(x.device(), {x.shape[0], w.shape[0]}, x.dtype);
  auto s = Tensor::empty(x.device(), {x.shape[0], a.shape[0]}, x.dtype);
  run(x.device(), "loraLinear", x.device().kernels.lora_linear, y.view(), s.view(), x.view(), w.view(), view_of(bias),
      a.view(), b.view(), scale, dropout, compute);
  return {y, s};
}

Tensors lora_linear_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& a, const Tensor& b,
                             const Tensor& s, double scale, Dropout dropout, Compute compute, bool needs_dx,
                             bool needs_da, bool needs_db) {
  check_linear("loraLinear", x, w);
  check_factors("loraLinear", x, w, a, b);
  check_like("loraLinear", "dy", dy, x);
  check_shape("loraLinear", "dy", dy, {x.shape[0], w.shape[0]});
  check_shape("loraLinear", "s", s, {x.shape[0], a.shape[0]});
  Tensor dx, da, db;
  if (needs_dx) dx = like(x);
  if (needs_da) da = like(a);
  if (needs_db) db = like(b);
  run(x.device(), "loraLinearBackward", x.device().kernels.lora_linear_backward, dx.view(), da.view(), db.view(),
      dy.view(), x.view(), w.view(), a.view(), b.view(), s.view(), scale, dropout, compute);
  return {dx, da, db};
}

}  // namespace lowrank::ops
