#include "core/ops/checks.h"

namespace lowrank::ops {

Tensor gated_activation(const Tensor& gate, const Tensor& up, Activation kind) {
  check_float("gatedActivation", "gate", gate);
  check_twin("gatedActivation", "up", up, gate);
  auto y = like(gate);
  run(gate.device(), "gatedActivation", gate.device().kernels.gated_activation, y.view(), gate.view(), up.view(), kind);
  return y;
}

Tensor gated_activation_backward(const Tensor& dy, const Tensor& gate, const Tensor& up, Activation kind) {
  check_float("gatedActivation", "gate", gate);
  check_twin("gatedActivation", "up", up, gate);
  check_twin("gatedActivation", "dy", dy, gate);
  auto dup = like(up);
  run(dy.device(), "gatedActivationBackward", dy.device().kernels.gated_activation_backward, dy.view(), dup.view(),
      dy.view(), gate.view(), up.view(), kind);
  return dup;
}

}  // namespace lowrank::ops
