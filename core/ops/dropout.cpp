#include "core/ops/checks.h"

namespace lowrank::ops {

Tensor dropout(const Tensor& x, Dropout dropout) {
  check_float("dropout", "x", x);
  check_dropout_rows("dropout", dropout, x.rows());
  auto y = like(x);
  run(x.device(), "dropout", x.device().kernels.dropout, y.view(), x.view(), dropout);
  return y;
}

}  // namespace lowrank::ops
