#include "core/ops/checks.h"

namespace lowrank::ops {

Tensors rms_norm(const Tensor& x, Maybe residual, const Tensor& w, double offset, double eps, Dropout dropout) {
  check_float("rmsNorm", "x", x);
  check_matrix("rmsNorm", "x", x);
  if (residual) check_twin("rmsNorm", "residual", *residual, x);
  check_parameter("rmsNorm", "weight", w, x);
  check_shape("rmsNorm", "weight", w, {x.cols()});
  check_dropout_rows("rmsNorm", dropout, x.rows());
  auto y = like(x);
  Tensor h;
  if (residual || dropout.active()) h = like(x);
  auto rstd = Tensor::empty(x.device(), {x.rows()}, sums_of(x.dtype));
  run(x.device(), "rmsNorm", x.device().kernels.rms_norm, y.view(), h.view(), rstd.view(), x.view(), view_of(residual),
      w.view(), offset, eps, dropout);
  return {y, h, rstd};
}

Tensors rms_norm_backward(const Tensor& dy, Maybe dh, const Tensor& h, const Tensor& w, const Tensor& rstd,
                          double offset, bool needs_dx, bool needs_dw) {
  check_float("rmsNorm", "h", h);
  check_matrix("rmsNorm", "h", h);
  check_twin("rmsNorm", "dy", dy, h);
  if (dh) check_twin("rmsNorm", "dh", *dh, h);
  check_parameter("rmsNorm", "weight", w, h);
  check_shape("rmsNorm", "weight", w, {h.cols()});
  check_same_device("rmsNorm", rstd, h);
  check_dtype("rmsNorm", "rstd", rstd, sums_of(h.dtype));
  check_shape("rmsNorm", "rstd", rstd, {h.rows()});
  Tensor dx, dw;
  if (needs_dx) dx = like(h);
  if (needs_dw) dw = like(w);
  run(h.device(), "rmsNormBackward", h.device().kernels.rms_norm_backward, dx.view(), dw.view(), dy.view(), view_of(dh),
      h.view(), w.view(), rstd.view(), offset);
  return {dx, dw};
}

}  // namespace lowrank::ops
