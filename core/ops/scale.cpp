#include "core/ops/checks.h"

namespace lowrank::ops {

Tensor scale(const Tensor& x, double alpha) {
  check_float("scale", "x", x);
  auto y = like(x);
  run(x.device(), "scale", x.device().kernels.scale, y.view(), x.view(), alpha);
  return y;
}

}  // namespace lowrank::ops
