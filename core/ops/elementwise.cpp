#include "core/ops/checks.h"

namespace lowrank::ops {

void fill(const Tensor& y, double value) { run(y.device(), "fill", y.device().kernels.fill, y.view(), value); }

void copy_into(const Tensor& y, const Tensor& x) {
  check_same_device("copyInto", y, x);
  check(y.size() == x.size(), Code::Shape, "copyInto: ", x.shape, " does not fill ", y.shape);
  run(y.device(), "copyInto", y.device().kernels.copy, y.view(), x.view());
}

Tensor cast(const Tensor& x, DType dtype) {
  auto y = Tensor::empty(x.device(), x.shape, dtype);
  run(x.device(), "cast", x.device().kernels.copy, y.view(), x.view());
  return y;
}

Tensor add(const Tensor& a, const Tensor& b) {
  check_float("add", "a", a);
  check_twin("add", "b", b, a);
  auto y = like(a);
  run(a.device(), "add", a.device().kernels.add, y.view(), a.view(), b.view());
  return y;
}

Tensor multiply(const Tensor& a, const Tensor& b) {
  check_float("multiply", "a", a);
  check_twin("multiply", "b", b, a);
  auto y = like(a);
  run(a.device(), "multiply", a.device().kernels.multiply, y.view(), a.view(), b.view());
  return y;
}

void accumulate(const Tensor& y, const Tensor& x, double alpha) {
  check_float("accumulate", "y", y);
  check_like("accumulate", "x", x, y);
  check(y.size() == x.size(), Code::Shape, "accumulate: ", x.shape, " into ", y.shape);
  run(y.device(), "accumulate", y.device().kernels.accumulate, y.view(), x.view(), alpha);
}

Tensor scale(const Tensor& x, double alpha) {
  check_float("scale", "x", x);
  auto y = like(x);
  run(x.device(), "scale", x.device().kernels.scale, y.view(), x.view(), alpha);
  return y;
}

Tensor activation(const Tensor& x, Activation kind) {
  check_float("activation", "x", x);
  auto y = like(x);
  run(x.device(), "activation", x.device().kernels.activation, y.view(), x.view(), kind);
  return y;
}

Tensor activation_backward(const Tensor& dy, const Tensor& x, Activation kind, bool in_place) {
  check_twin("activation", "dy", dy, x);
  auto dx = in_place ? dy : like(x);
  run(x.device(), "activationBackward", x.device().kernels.activation_backward, dx.view(), dy.view(), x.view(), kind);
  return dx;
}

Tensor dropout(const Tensor& x, Dropout dropout) {
  check_float("dropout", "x", x);
  auto y = like(x);
  run(x.device(), "dropout", x.device().kernels.dropout, y.view(), x.view(), dropout);
  return y;
}

}  // namespace lowrank::ops
