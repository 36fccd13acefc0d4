#include "core/ops/checks.h"

namespace lowrank::ops {
namespace {

constexpr const char* NAME = "linearCrossEntropy";
constexpr int64_t MOST_ROWS = 4096;

// As many rows as 512 MB of logits hold, in whole tiles of a product; on the CPU as 128 MB hold, which is enough to pay
// for packing the head.
int64_t chunk_of(const Tensor& x, int64_t classes) {
  const bool cpu = x.device().kind == DeviceKind::Cpu;
  const int64_t most = int64_t(cpu ? 128 : 512) << 20;
  const int64_t rows = std::min(MOST_ROWS, most / (classes * int64_t(bytes_of(x.dtype))));
  return rows >= 128 && !cpu ? rows / 128 * 128 : std::max(rows, int64_t(1));
}

// Shape [1], or a loss of each part.
Tensor empty_loss(const Tensor& x, const LinearCrossEntropy& options) {
  if (!options.count) return scalar_like(x);
  int64_t rows = 0;
  for (int32_t i = 0; i < options.count; ++i) rows += options.parts[i].rows;
  check(rows == x.shape[0], Code::Shape, NAME, ": parts of ", rows, " rows, x ", x.shape);
  return Tensor::empty(x.device(), {options.count}, sums_of(x.dtype));
}

}  // namespace

Tensors linear_cross_entropy(const Tensor& x, const Tensor& w, Maybe bias, const Tensor& labels,
                             LinearCrossEntropy options, bool needs_dx) {
  check_linear(NAME, x, w);
  check_bias(NAME, bias, x, w.shape[0]);
  check_compute(NAME, options.compute, x);
  check_same_device(NAME, labels, x);
  check_dtype(NAME, "labels", labels, DType::I32);
  check_shape(NAME, "labels", labels, {x.shape[0]});
  check(w.shape[0] > 0, Code::Shape, NAME, ": weight ", w.shape, ", expected at least one class");
  check(options.smoothing >= 0 && options.smoothing <= 1, Code::Option, NAME, ": smoothing ", options.smoothing,
        ", expected 0 to 1");
  check(options.softcap >= 0 && options.z_loss >= 0 && options.chunk >= 0, Code::Option, NAME, ": softcap ",
        options.softcap, ", zLoss ", options.z_loss, ", chunk ", options.chunk, ", expected no negative number");
  check_indices(NAME, "label", labels, w.shape[0], options.ignore_index);
  if (options.chunk == 0) options.chunk = chunk_of(x, w.shape[0]);
  auto loss = empty_loss(x, options);
  Tensor dx;
  if (needs_dx) dx = like(x);
  run(x.device(), NAME, x.device().kernels.linear_cross_entropy, loss.view(), dx.view(), x.view(), w.view(),
      view_of(bias), labels.view(), options);
  return {loss, dx};
}

Tensor linear_cross_entropy_backward(const Tensor& dloss, const Tensor& dx, double scale) {
  check_float(NAME, "dx", dx);
  check_dloss(NAME, dloss, dx);
  auto scaled = like(dx);
  run(dx.device(), "linearCrossEntropyBackward", dx.device().kernels.linear_cross_entropy_backward, scaled.view(),
      dloss.view(), dx.view(), scale);
  return scaled;
}

}  // namespace lowrank::ops
