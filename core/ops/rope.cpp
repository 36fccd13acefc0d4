#include "core/ops/checks.h"

namespace lowrank::ops {
namespace {

void check_rope(const Tensor& x, const Tensor& positions, const Tensor& table, int64_t head_dim) {
  check_float("rope", "x", x);
  check_matrix("rope", "x", x);
  check(head_dim > 0 && x.cols() % head_dim == 0, Code::Shape, "rope: x ", x.shape, " is not made of heads of ",
        head_dim);
  check_same_device("rope", positions, x);
  check_dtype("rope", "positions", positions, DType::I32);
  check_shape("rope", "positions", positions, {x.shape[0]});
  check_parameter("rope", "table", table, x);
  check_matrix("rope", "table", table);
  check(table.cols() % 2 == 0 && table.cols() <= head_dim, Code::Shape, "rope: table ", table.shape,
        ", expected an even number of columns, at most head size ", head_dim);
  check_indices("rope", "position", positions, table.shape[0]);
}

}  // namespace

Tensors rope(const Tensor& q, Maybe k, const Tensor& positions, const Tensor& table, int head_dim, bool interleaved) {
  check_rope(q, positions, table, head_dim);
  if (k) check_rope(*k, positions, table, head_dim);
  if (k) check_like("rope", "k", *k, q);
  auto y = like(q);
  Tensor ky;
  if (k) ky = like(*k);
  run(q.device(), "rope", q.device().kernels.rope, y.view(), ky.view(), q.view(), view_of(k), positions.view(),
      table.view(), int64_t(head_dim), interleaved, false);
  return {y, ky};
}

void rope_backward(const Tensor& dy, const Tensor& positions, const Tensor& table, int head_dim, bool interleaved) {
  check_rope(dy, positions, table, head_dim);
  run(dy.device(), "ropeBackward", dy.device().kernels.rope, dy.view(), View{}, dy.view(), View{}, positions.view(),
      table.view(), int64_t(head_dim), interleaved, true);
}

}  // namespace lowrank::ops
