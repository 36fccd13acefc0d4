#include "core/ops/checks.h"

namespace lowrank::ops {

Tensor activation(const Tensor& x, Activation kind) {
  check_float("activation", "x", x);
  auto y = like(x);
  run(x.device(), "activation", x.device().kernels.activation, y.view(), x.view(), kind);
  return y;
}

void activation_backward(const Tensor& dy, const Tensor& x, Activation kind) {
  check_float("activation", "x", x);
  check_twin("activation", "dy", dy, x);
  run(x.device(), "activationBackward", x.device().kernels.activation_backward, dy.view(), dy.view(), x.view(), kind);
}

}  // namespace lowrank::ops
