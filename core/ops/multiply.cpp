#include "core/ops/checks.h"

namespace lowrank::ops {

Tensor multiply(const Tensor& a, const Tensor& b) {
  check_float("multiply", "a", a);
  check_twin("multiply", "b", b, a);
  auto y = like(a);
  run(a.device(), "multiply", a.device().kernels.multiply, y.view(), a.view(), b.view());
  return y;
}

}  // namespace lowrank::ops
