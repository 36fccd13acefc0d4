#include "core/ops/checks.h"

namespace lowrank::ops {

Tensor activation(const Tensor& x, Activation kind) {
  check_float("activation", "x", x);
  auto y = like(x);
  run(x.device(), "activation", x.device().kernels.activation, y.view(), x.view(), kind);
  return y;
}

Tensor activation_backward(const Tensor& dy, const Tensor& x, Activation kind, bool in_place) {
  check_twin("activation", "dy", dy, x);
  auto dx = in_place ? dy : like(x);
  run(x.device(), "activationBackward", x.device().kernels.activation_backward, dx.view(), dy.view(), x.view(), kind);
  return dx;
}

}  // namespace lowrank::ops
