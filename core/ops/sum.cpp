#include "core/ops/checks.h"

namespace lowrank::ops {

Tensor sum_rows(const Tensor& x) {
  check_float("sumRows", "x", x);
  auto y = Tensor::empty(x.device(), {x.cols()}, sums_of(x.dtype));
  run(x.device(), "sumRows", x.device().kernels.sum_rows, y.view(), x.view());
  return y;
}

Tensor sum(const Tensor& x) {
  check_float("sum", "x", x);
  auto y = Tensor::empty(x.device(), {1}, sums_of(x.dtype));
  run(x.device(), "sum", x.device().kernels.sum, y.view(), x.view());
  return y;
}

Tensor sum_squares(const Tensor& x) {
  check_float("sumSquares", "x", x);
  auto y = Tensor::empty(x.device(), {1}, sums_of(x.dtype));
  run(x.device(), "sumSquares", x.device().kernels.sum_squares, y.view(), x.view());
  return y;
}

}  // namespace lowrank::ops
