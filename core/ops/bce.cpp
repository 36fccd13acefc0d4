#include "core/ops/checks.h"

namespace lowrank::ops {

Tensor bce(const Tensor& logits, const Tensor& targets, Maybe positive_weights, double scale) {
  check_loss_inputs("bce", logits, targets);
  check_class_weights("bce", positive_weights, logits);
  auto loss = scalar_like(logits);
  run(logits.device(), "bce", logits.device().kernels.bce, loss.view(), logits.view(), targets.view(),
      view_of(positive_weights), scale);
  return loss;
}

Tensor bce_backward(const Tensor& dloss, const Tensor& logits, const Tensor& targets, Maybe positive_weights,
                    double scale) {
  check_loss_inputs("bce", logits, targets);
  check_class_weights("bce", positive_weights, logits);
  check_dloss("bce", dloss, logits);
  auto dlogits = like(logits);
  run(logits.device(), "bceBackward", logits.device().kernels.bce_backward, dlogits.view(), dloss.view(), logits.view(),
      targets.view(), view_of(positive_weights), scale);
  return dlogits;
}

}  // namespace lowrank::ops
