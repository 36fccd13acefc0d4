#include "core/ops/checks.h"

namespace lowrank::ops {

Tensors layer_norm(const Tensor& x, Maybe residual, const Tensor& w, Maybe b, double eps, Dropout dropout) {
  check_float("layerNorm", "x", x);
  check_matrix("layerNorm", "x", x);
  if (residual) check_twin("layerNorm", "residual", *residual, x);
  check_parameter("layerNorm", "weight", w, x);
  check_shape("layerNorm", "weight", w, {x.cols()});
  if (b) check_twin("layerNorm", "bias", *b, w);
  check_dropout_rows("layerNorm", dropout, x.rows());
  auto y = like(x);
  Tensor h;
  if (residual || dropout.active()) h = like(x);
  auto mean = Tensor::empty(x.device(), {x.rows()}, sums_of(x.dtype));
  auto rstd = Tensor::empty(x.device(), {x.rows()}, sums_of(x.dtype));
  run(x.device(), "layerNorm", x.device().kernels.layer_norm, y.view(), h.view(), mean.view(), rstd.view(), x.view(),
      view_of(residual), w.view(), view_of(b), eps, dropout);
  return {y, h, mean, rstd};
}

Tensors layer_norm_backward(const Tensor& dy, Maybe dh, const Tensor& h, const Tensor& w, const Tensor& mean,
                            const Tensor& rstd, Dropout dropout, bool needs_dresidual, bool needs_dw, bool needs_db) {
  check_float("layerNorm", "h", h);
  check_matrix("layerNorm", "h", h);
  check_twin("layerNorm", "dy", dy, h);
  if (dh) check_twin("layerNorm", "dh", *dh, h);
  check_parameter("layerNorm", "weight", w, h);
  check_shape("layerNorm", "weight", w, {h.cols()});
  check_same_device("layerNorm", mean, h);
  check_dtype("layerNorm", "mean", mean, sums_of(h.dtype));
  check_shape("layerNorm", "mean", mean, {h.rows()});
  check_twin("layerNorm", "rstd", rstd, mean);
  check_dropout_rows("layerNorm", dropout, h.rows());
  auto dx = like(h);
  Tensor dresidual, dw, db;
  if (needs_dresidual && dropout.active()) dresidual = like(h);
  if (needs_dw) dw = like(w);
  if (needs_db) db = like(w);
  run(h.device(), "layerNormBackward", h.device().kernels.layer_norm_backward, dx.view(), dresidual.view(), dw.view(),
      db.view(), dy.view(), view_of(dh), h.view(), w.view(), mean.view(), rstd.view(), dropout);
  return {dx, dresidual, dw, db};
}

}  // namespace lowrank::ops
