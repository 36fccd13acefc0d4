#include "core/ops/norm.h"

namespace lowrank::ops {

Tensors rms_norm(const Tensor& x, Maybe residual, const Tensor& w, double offset, double eps, Dropout dropout) {
  check_norm("rmsNorm", x, residual, w, dropout);
  auto y = like(x), h = hidden_of(x, residual, dropout);
  auto rstd = statistic_of(x);
  run(x.device(), "rmsNorm", x.device().kernels.rms_norm, y.view(), h.view(), rstd.view(), x.view(), view_of(residual),
      w.view(), offset, eps, dropout);
  return {y, h, rstd};
}

Tensors rms_norm_backward(const Tensor& dy, Maybe dh, const Tensor& h, const Tensor& w, const Tensor& rstd,
                          double offset, bool needs_dx, bool needs_dw) {
  check_norm_backward("rmsNorm", dy, dh, h, w);
  check_statistic("rmsNorm", "rstd", rstd, h);
  Tensor dx, dw;
  if (needs_dx) dx = like(h);
  if (needs_dw) dw = like(w);
  run(h.device(), "rmsNormBackward", h.device().kernels.rms_norm_backward, dx.view(), dw.view(), dy.view(), view_of(dh),
      h.view(), w.view(), rstd.view(), offset);
  return {dx, dw};
}

}  // namespace lowrank::ops
