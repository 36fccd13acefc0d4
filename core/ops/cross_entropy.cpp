#include "core/ops/checks.h"

namespace lowrank::ops {
namespace {

void check_labels(const Tensor& logits, const Tensor& labels, Maybe weights, const CrossEntropy& options) {
  check_float("crossEntropy", "logits", logits);
  check_matrix("crossEntropy", "logits", logits);
  check_same_device("crossEntropy", logits, labels);
  check_dtype("crossEntropy", "labels", labels, DType::I32);
  check_shape("crossEntropy", "labels", labels, {logits.shape[0]});
  check_class_weights("crossEntropy", weights, logits);
  check(logits.cols() > 0, Code::Shape, "crossEntropy: logits ", logits.shape, ", expected at least one class");
  check(options.smoothing >= 0 && options.smoothing <= 1, Code::Option, "crossEntropy: smoothing ", options.smoothing,
        ", expected 0 to 1");
  check_indices("crossEntropy", "label", labels, logits.cols(), options.ignore_index);
}

}  // namespace

Tensors cross_entropy(const Tensor& logits, const Tensor& labels, Maybe weights, CrossEntropy options) {
  check_labels(logits, labels, weights, options);
  auto loss = scalar_like(logits);
  auto lse = Tensor::empty(logits.device(), {logits.shape[0]}, sums_of(logits.dtype));
  run(logits.device(), "crossEntropy", logits.device().kernels.cross_entropy, loss.view(), lse.view(), logits.view(),
      labels.view(), view_of(weights), options);
  return {loss, lse};
}

Tensor cross_entropy_backward(const Tensor& dloss, const Tensor& logits, const Tensor& labels, Maybe weights,
                              const Tensor& lse, CrossEntropy options) {
  check_labels(logits, labels, weights, options);
  check_dloss("crossEntropy", dloss, logits);
  check_same_device("crossEntropy", lse, logits);
  check_dtype("crossEntropy", "lse", lse, sums_of(logits.dtype));
  check_shape("crossEntropy", "lse", lse, {logits.shape[0]});
  auto dlogits = like(logits);
  run(logits.device(), "crossEntropyBackward", logits.device().kernels.cross_entropy_backward, dlogits.view(),
      dloss.view(), logits.view(), labels.view(), view_of(weights), lse.view(), options);
  return dlogits;
}

}  // namespace lowrank::ops
