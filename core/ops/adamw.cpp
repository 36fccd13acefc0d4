#include "core/code_book.h"
#include "core/ops/checks.h"

namespace lowrank::ops {
namespace {

void check_wide(const char* op, const char* what, const Tensor& t) {
  check(t.dtype == DType::F32 || t.dtype == DType::F64, Code::DType, op, ": ", what, " is ", name_of(t.dtype),
        ", expected f32 or f64");
}

void check_step(const char* op, const Tensor& params, const Tensor& grads, const Tensor& slices,
                const Tensor& squared_norm, const AdamW& options) {
  check_wide(op, "params", params);
  check_twin(op, "grads", grads, params);
  check_same_device(op, slices, params);
  check_dtype(op, "slices", slices, DType::F64);
  check(slices.shape.rank == 2 && slices.shape[1] == 4, Code::Shape, op, ": slices ", slices.shape,
        ", expected [S, 4]");
  check_same_device(op, squared_norm, params);
  check_wide(op, "squaredNorm", squared_norm);
  check_shape(op, "squaredNorm", squared_norm, {1});
  check(options.step >= 1, Code::Option, op, ": step ", options.step, ", expected 1 or more");
  check_in_queue(params.device(), op, [slices = slices.view(), size = double(params.size())] {
    double last = 0;
    for (int64_t s = 0; s < slices.rows(); ++s) {
      const double begin = slices.as<double>()[s * 4], end = slices.as<double>()[s * 4 + 1];
      check(begin >= 0 && begin <= end && end <= size && begin == std::floor(begin) && end == std::floor(end),
            Code::Shape, "slice ", s, " is ", begin, " to ", end, " of ", size, " parameters");
      check(begin >= last, Code::Shape, "slice ", s, " begins at ", begin, ", the one before ends at ", last);
      last = end;
    }
  });
}

void check_state(const char* what, const Tensor& t, const Tensor& params, DType dtype, const Shape& shape) {
  check_same_device("adamw8", t, params);
  check_dtype("adamw8", what, t, dtype);
  check_shape("adamw8", what, t, shape);
}

}  // namespace

void adamw(const Tensor& params, const Tensor& grads, const Tensor& m, const Tensor& v, const Tensor& slices,
           const Tensor& squared_norm, AdamW options) {
  check_step("adamw", params, grads, slices, squared_norm, options);
  check_twin("adamw", "m", m, params);
  check_twin("adamw", "v", v, params);
  run(params.device(), "adamw", params.device().kernels.adamw, params.view(), grads.view(), m.view(), v.view(),
      slices.view(), squared_norm.view(), options);
}

void adamw8(const Tensor& params, const Tensor& grads, const Tensor& m, const Tensor& v, const Tensor& m_scale,
            const Tensor& v_scale, const Tensor& slices, const Tensor& squared_norm, AdamW options) {
  check_step("adamw8", params, grads, slices, squared_norm, options);
  const Shape scales = {(params.size() + STATE_BLOCK - 1) / STATE_BLOCK};
  check_state("m", m, params, DType::U8, params.shape);
  check_state("v", v, params, DType::U8, params.shape);
  check_state("mScale", m_scale, params, DType::F32, scales);
  check_state("vScale", v_scale, params, DType::F32, scales);
  run(params.device(), "adamw8", params.device().kernels.adamw8, params.view(), grads.view(), m.view(), v.view(),
      m_scale.view(), v_scale.view(), slices.view(), squared_norm.view(), options);
}

}  // namespace lowrank::ops
