#include "core/ops/checks.h"

namespace lowrank::ops {

// b has a's shape, or is a row that serves all of a's.
Tensor add(const Tensor& a, const Tensor& b) {
  check_float("add", "a", a);
  if (b.shape.rank == 1 && a.shape.rank == 2) {
    check_like("add", "b", b, a);
    check_shape("add", "b", b, {a.cols()});
  } else {
    check_twin("add", "b", b, a);
  }
  auto y = like(a);
  run(a.device(), "add", a.device().kernels.add, y.view(), a.view(), b.view());
  return y;
}

}  // namespace lowrank::ops
