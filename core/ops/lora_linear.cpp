#include "core/ops/checks.h"
#include "core/ops/rope.h"

namespace lowrank::ops {
Tensors lora_linear(const Tensor& x, const Tensor& w, Maybe bias, const Tensor& a, const Tensor& b, double scale,
                    Dropout dropout, Compute compute, bool exact, Maybe positions, Maybe table, int head_dim,
                    bool interleaved) {
  check_linear("loraLinear", x, w);
  check_compute("loraLinear", compute, x);
  check_bias("loraLinear", bias, x, w.shape[0]);
  check_factors("loraLinear", x, w, a, b);
  check_dropout_rows("loraLinear", dropout, x.shape[0]);
  auto y = Tensor::empty(x.device(), {x.shape[0], w.shape[0]}, x.dtype);
  auto s = Tensor::empty(x.device(), {x.shape[0], a.shape[0]}, sums_of(x.dtype));
  const Rope rope = rope_of("loraLinear", y, positions, table, head_dim, interleaved);
  run(x.device(), "loraLinear", x.device().kernels.lora_linear, y.view(), s.view(), x.view(), w.view(), view_of(bias),
      a.view(), b.view(), scale, dropout, compute, exact, rope);
  return {y, s};
}

Tensors lora_linear_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& a, const Tensor& b,
                             const Tensor& s, double scale, Dropout dropout, Compute compute, bool exact, bool needs_dx,
                             bool needs_da, bool needs_db, Maybe residual) {
  check_linear("loraLinear", x, w);
  check_compute("loraLinear", compute, x);
  check_factors("loraLinear", x, w, a, b);
  check_like("loraLinear", "dy", dy, x);
  check_shape("loraLinear", "dy", dy, {x.shape[0], w.shape[0]});
  check_same_device("loraLinear", s, x);
  check_dtype("loraLinear", "s", s, sums_of(x.dtype));
  check_shape("loraLinear", "s", s, {x.shape[0], a.shape[0]});
  check_dropout_rows("loraLinear", dropout, x.shape[0]);
  if (residual) check_twin("loraLinear", "the gradient so far", *residual, x);
  Tensor dx, da, db;
  if (needs_dx) dx = like(x);
  if (needs_da) da = like(a);
  if (needs_db) db = like(b);
  run(x.device(), "loraLinearBackward", x.device().kernels.lora_linear_backward, dx.view(), da.view(), db.view(),
      dy.view(), x.view(), w.view(), a.view(), b.view(), s.view(), scale, dropout, compute, exact, view_of(residual));
  return {dx, da, db};
}

}  // namespace lowrank::ops
