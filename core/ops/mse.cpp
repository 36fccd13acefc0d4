#include "core/ops/checks.h"

namespace lowrank::ops {

Tensor mse(const Tensor& x, const Tensor& targets, double scale) {
  check_loss_inputs("meanSquaredError", x, targets);
  auto loss = scalar_like(x);
  run(x.device(), "meanSquaredError", x.device().kernels.mse, loss.view(), x.view(), targets.view(), scale);
  return loss;
}

Tensor mse_backward(const Tensor& dloss, const Tensor& x, const Tensor& targets, double scale) {
  check_loss_inputs("meanSquaredError", x, targets);
  auto dx = like(x);
  run(x.device(), "meanSquaredErrorBackward", x.device().kernels.mse_backward, dx.view(), dloss.view(), x.view(),
      targets.view(), scale);
  return dx;
}

}  // namespace lowrank::ops
