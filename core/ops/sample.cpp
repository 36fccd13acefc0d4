#include "core/ops/checks.h"

namespace lowrank::ops {

Tensor sample(const Tensor& logits, Sampling options) {
  check_float("sample", "logits", logits);
  check_matrix("sample", "logits", logits);
  check(logits.shape[1] > 0 && logits.shape[1] <= (int64_t(1) << 22), Code::Shape, "sample: logits ", logits.shape,
        ", expected 1 to 4194304 tokens a row");
  check(options.temperature >= 0 && std::isfinite(options.temperature), Code::Option, "sample: temperature ",
        options.temperature, ", expected 0 (greedy) or more");
  check(options.top_k >= 0, Code::Option, "sample: topK ", options.top_k, ", expected 0 (off) or more");
  check(options.top_p > 0 && options.top_p <= 1, Code::Option, "sample: topP ", options.top_p,
        ", expected above 0, to 1 (off)");
  auto ids = Tensor::empty(logits.device(), {logits.shape[0]}, DType::I32);
  run(logits.device(), "sample", logits.device().kernels.sample, ids.view(), logits.view(), options);
  return ids;
}

}  // namespace lowrank::ops
