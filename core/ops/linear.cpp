#include "core/ops/checks.h"
#include "core/ops/rope.h"

namespace lowrank::ops {

Tensor linear(const Tensor& x, const Tensor& w, Maybe bias, Compute compute, Maybe positions, Maybe table, int head_dim,
              bool interleaved) {
  check_linear("linear", x, w);
  check_compute("linear", compute, x);
  check_bias("linear", bias, x, w.shape[0]);
  auto y = Tensor::empty(x.device(), {x.shape[0], w.shape[0]}, x.dtype);
  const Rope rope = rope_of("linear", y, positions, table, head_dim, interleaved);
  run(x.device(), "linear", x.device().kernels.linear, y.view(), x.view(), w.view(), view_of(bias), compute, rope);
  return y;
}

}  // namespace lowrank::ops
