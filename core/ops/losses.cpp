#include "core/ops/checks.h"

namespace lowrank::ops {
namespace {

void check_loss_inputs(const char* op, const Tensor& logits, const Tensor& targets) {
  check_float(op, "logits", logits);
  check_matrix(op, "logits", logits);
  check_twin(op, "targets", targets, logits);
}

void check_class_weights(const char* op, Maybe weights, const Tensor& logits) {
  if (!weights) return;
  check_like(op, "weights", *weights, logits);
  check_shape(op, "weights", *weights, {logits.cols()});
}

void check_labels(const Tensor& logits, const Tensor& labels, Maybe weights) {
  check_float("crossEntropy", "logits", logits);
  check_matrix("crossEntropy", "logits", logits);
  check_same_device("crossEntropy", logits, labels);
  check_dtype("crossEntropy", "labels", labels, DType::I32);
  check_shape("crossEntropy", "labels", labels, {logits.shape[0]});
  check_class_weights("crossEntropy", weights, logits);
}

Tensor scalar_like(const Tensor& x) { return Tensor::empty(x.device(), {1}, x.dtype); }

}  // namespace

Tensors cross_entropy(const Tensor& logits, const Tensor& labels, Maybe weights, CrossEntropy options) {
  check_labels(logits, labels, weights);
  auto loss = scalar_like(logits);
  auto lse = Tensor::empty(logits.device(), {logits.shape[0]}, logits.dtype);
  run(logits.device(), "crossEntropy", logits.device().kernels.cross_entropy, loss.view(), lse.view(), logits.view(),
      labels.view(), view_of(weights), options);
  return {loss, lse};
}

Tensor cross_entropy_backward(const Tensor& dloss, const Tensor& logits, const Tensor& labels, Maybe weights,
                              const Tensor& lse, CrossEntropy options) {
  check_labels(logits, labels, weights);
  auto dlogits = like(logits);
  run(logits.device(), "crossEntropyBackward", logits.device().kernels.cross_entropy_backward, dlogits.view(),
      dloss.view(), logits.view(), labels.view(), view_of(weights), lse.view(), options);
  return dlogits;
}

Tensor bce(const Tensor& logits, const Tensor& targets, Maybe positive_weights, double scale) {
  check_loss_inputs("binaryCrossEntropy", logits, targets);
  check_class_weights("binaryCrossEntropy", positive_weights, logits);
  auto loss = scalar_like(logits);
  run(logits.device(), "binaryCrossEntropy", logits.device().kernels.bce, loss.view(), logits.view(), targets.view(),
      view_of(positive_weights), scale);
  return loss;
}

Tensor bce_backward(const Tensor& dloss, const Tensor& logits, const Tensor& targets, Maybe positive_weights,
                    double scale) {
  check_loss_inputs("binaryCrossEntropy", logits, targets);
  auto dlogits = like(logits);
  run(logits.device(), "binaryCrossEntropyBackward", logits.device().kernels.bce_backward, dlogits.view(), dloss.view(),
      logits.view(), targets.view(), view_of(positive_weights), scale);
  return dlogits;
}

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
