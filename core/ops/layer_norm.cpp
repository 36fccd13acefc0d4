#include "core/ops/norm.h"

namespace lowrank::ops {

Tensors layer_norm(const Tensor& x, Maybe residual, const Tensor& w, Maybe b, double eps, Dropout dropout) {
  check_norm("layerNorm", x, residual, w, dropout);
  if (b) check_twin("layerNorm", "bias", *b, w);
  auto y = like(x), h = hidden_of(x, residual, dropout);
  auto mean = statistic_of(x), rstd = statistic_of(x);
  run(x.device(), "layerNorm", x.device().kernels.layer_norm, y.view(), h.view(), mean.view(), rstd.view(), x.view(),
      view_of(residual), w.view(), view_of(b), eps, dropout);
  return {y, h, mean, rstd};
}

Tensors layer_norm_backward(const Tensor& dy, Maybe dh, const Tensor& h, const Tensor& w, const Tensor& mean,
                            const Tensor& rstd, Dropout dropout, bool needs_dresidual, bool needs_dw, bool needs_db) {
  check_norm_backward("layerNorm", dy, dh, h, w);
  check_statistic("layerNorm", "mean", mean, h);
  check_statistic("layerNorm", "rstd", rstd, h);
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
