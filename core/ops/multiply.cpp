#include "core/ops/checks.h"

namespace lowrank::ops {

// b has a's shape, or is a row that serves all of a's.
Tensor multiply(const Tensor& a, const Tensor& b) {
  check_float("multiply", "a", a);
  if (b.shape.rank == 1 && a.shape.rank == 2) {
    check_like("multiply", "b", b, a);
    check_shape("multiply", "b", b, {a.cols()});
  } else {
    check_twin("multiply", "b", b, a);
  }
  auto y = like(a);
  run(a.device(), "multiply", a.device().kernels.multiply, y.view(), a.view(), b.view());
  return y;
}

}  // namespace lowrank::ops
