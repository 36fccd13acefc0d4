#include "core/ops/checks.h"

namespace lowrank::ops {

Tensor mse(const Tensor& x, const Tensor& targets, double scale) {
  check_loss_inputs("mse", x, targets);
  auto loss = scalar_like(x);
  run(x.device(), "mse", x.device().kernels.mse, loss.view(), x.view(), targets.view(), scale);
  return loss;
}

Tensor mse_backward(const Tensor& dloss, const Tensor& x, const Tensor& targets, double scale) {
  check_loss_inputs("mse", x, targets);
  check_dloss("mse", dloss, x);
  auto dx = like(x);
  run(x.device(), "mseBackward", x.device().kernels.mse_backward, dx.view(), dloss.view(), x.view(), targets.view(),
      scale);
  return dx;
}

}  // namespace lowrank::ops
