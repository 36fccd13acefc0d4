#include "core/ops/checks.h"

namespace lowrank::ops {

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

void fill(const Tensor& y, double value) { run(y.device(), "fill", y.device().kernels.fill, y.view(), value); }

}  // namespace lowrank::ops
