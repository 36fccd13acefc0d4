#include "core/ops/checks.h"

namespace lowrank::ops {

void adamw(const Tensor& params, const Tensor& grads, const Tensor& m, const Tensor& v, const Tensor& slices,
           const Tensor& squared_norm, AdamW options) {
  check_float("adamw", "params", params);
  check_twin("adamw", "grads", grads, params);
  check_twin("adamw", "m", m, params);
  check_twin("adamw", "v", v, params);
  check_dtype("adamw", "slices", slices, DType::F64);
  check(slices.shape.rank == 2 && slices.shape[1] == 4, Code::Shape, "adamw: slices ", slices.shape, ", expected [S, 4]");
  check_shape("adamw", "squaredNorm", squared_norm, {1});
  check(options.step >= 1, Code::Option, "adamw: step ", options.step, ", expected 1 or more");
  run(params.device(), "adamw", params.device().kernels.adamw, params.view(), grads.view(), m.view(), v.view(),
      slices.view(), squared_norm.view(), options);
}

}  // namespace lowrank::ops
