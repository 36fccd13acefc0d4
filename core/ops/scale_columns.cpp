#include "core/ops/checks.h"

namespace lowrank::ops {
namespace {

void check_columns(const Tensor& x, const Tensor& v) {
  check_float("scaleColumns", "x", x);
  check_matrix("scaleColumns", "x", x);
  check_like("scaleColumns", "v", v, x);
  check_shape("scaleColumns", "v", v, {x.cols()});
}

}  // namespace

Tensor scale_columns(const Tensor& x, const Tensor& v, Maybe bias) {
  check_columns(x, v);
  if (bias) {
    check_like("scaleColumns", "bias", *bias, x);
    check_shape("scaleColumns", "bias", *bias, {x.cols()});
  }
  auto y = like(x);
  run(x.device(), "scaleColumns", x.device().kernels.scale_columns, y.view(), x.view(), v.view(), view_of(bias));
  return y;
}

Tensor scale_columns_backward(const Tensor& dy, const Tensor& x, const Tensor& v, bool needs_dx, bool needs_dv) {
  check_columns(x, v);
  check_twin("scaleColumns", "dy", dy, x);
  Tensor dv;
  if (needs_dv) dv = Tensor::empty(x.device(), {x.cols()}, sums_of(x.dtype));
  run(x.device(), "scaleColumnsBackward", x.device().kernels.scale_columns_backward, needs_dx ? dy.view() : View{},
      dv.view(), dy.view(), x.view(), v.view());
  return dv;
}

}  // namespace lowrank::ops
