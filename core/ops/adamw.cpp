#include "core/ops/checks.h"

namespace lowrank::ops {

void adamw(const Tensor& params, const Tensor& grads, const Tensor& m, const Tensor& v, const Tensor& slices,
           const Tensor& squared_norm, AdamW options) {
  check(params.dtype == DType::F32 || params.dtype == DType::F64, Code::DType, "adamw: params is ",
        name_of(params.dtype), ", expected f32 or f64");
  check_twin("adamw", "grads", grads, params);
  check_twin("adamw", "m", m, params);
  check_twin("adamw", "v", v, params);
  check_same_device("adamw", slices, params);
  check_dtype("adamw", "slices", slices, DType::F64);
  check(slices.shape.rank == 2 && slices.shape[1] == 4, Code::Shape, "adamw: slices ", slices.shape,
        ", expected [S, 4]");
  check_same_device("adamw", squared_norm, params);
  check(squared_norm.dtype == DType::F32 || squared_norm.dtype == DType::F64, Code::DType, "adamw: squaredNorm is ",
        name_of(squared_norm.dtype), ", expected f32 or f64");
  check_shape("adamw", "squaredNorm", squared_norm, {1});
  check(options.step >= 1, Code::Option, "adamw: step ", options.step, ", expected 1 or more");
  check_in_queue(params.device(), "adamw", [slices = slices.view(), size = double(params.size())] {
    double last = 0;
    for (int64_t s = 0; s < slices.rows(); ++s) {
      const double begin = slices.as<double>()[s * 4], end = slices.as<double>()[s * 4 + 1];
      check(begin >= 0 && begin <= end && end <= size && begin == std::floor(begin) && end == std::floor(end),
            Code::Shape, "slice ", s, " is ", begin, " to ", end, " of ", size, " parameters");
      check(begin >= last, Code::Shape, "slice ", s, " begins at ", begin, ", the one before ends at ", last);
      last = end;
    }
  });
  run(params.device(), "adamw", params.device().kernels.adamw, params.view(), grads.view(), m.view(), v.view(),
      slices.view(), squared_norm.view(), options);
}

}  // namespace lowrank::ops
