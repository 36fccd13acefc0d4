#include "core/ops/checks.h"

namespace lowrank::ops {

void accumulate(const Tensor& y, const Tensor& x, double alpha) {
  check_float("accumulate", "y", y);
  check_like("accumulate", "x", x, y);
  check(y.size() == x.size(), Code::Shape, "accumulate: ", x.shape, " into ", y.shape);
  run(y.device(), "accumulate", y.device().kernels.accumulate, y.view(), x.view(), alpha);
}

}  // namespace lowrank::ops
