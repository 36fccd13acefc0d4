#include "core/ops/checks.h"

namespace lowrank::ops {

Tensor log1mexp(const Tensor& x) {
  check_float("log1mexp", "x", x);
  auto y = like(x);
  run(x.device(), "log1mexp", x.device().kernels.log1mexp, y.view(), x.view());
  return y;
}

Tensor log1mexp_backward(const Tensor& dy, const Tensor& x) {
  check_float("log1mexp", "x", x);
  check_twin("log1mexp", "dy", dy, x);
  auto dx = like(x);
  run(x.device(), "log1mexpBackward", x.device().kernels.log1mexp_backward, dx.view(), dy.view(), x.view());
  return dx;
}

}  // namespace lowrank::ops
