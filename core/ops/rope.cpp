#include "core/ops/rope.h"

namespace lowrank::ops {
namespace {

void check_rope(const char* op, const char* what, const Tensor& x, const Tensor& positions, const Tensor& table,
                int64_t head_dim) {
  check_float(op, what, x);
  check_matrix(op, what, x);
  check(head_dim > 0 && x.cols() % head_dim == 0, Code::Shape, op, ": ", what, " ", x.shape,
        " is not made of heads of ", head_dim);
  check_same_device(op, positions, x);
  check_dtype(op, "positions", positions, DType::I32);
  check_shape(op, "positions", positions, {x.shape[0]});
  check_parameter(op, "table", table, x);
  check_matrix(op, "table", table);
  check(table.cols() % 2 == 0 && table.cols() <= head_dim, Code::Shape, op, ": table ", table.shape,
        ", expected an even number of columns, at most head size ", head_dim);
  check_indices(op, "position", positions, table.shape[0]);
}

}  // namespace

Tensors rope(const Tensor& q, Maybe k, const Tensor& positions, const Tensor& table, int head_dim, bool interleaved) {
  check_rope("rope", "q", q, positions, table, head_dim);
  if (k) check_rope("rope", "k", *k, positions, table, head_dim);
  if (k) check_like("rope", "k", *k, q);
  auto y = like(q);
  Tensor ky;
  if (k) ky = like(*k);
  run(q.device(), "rope", q.device().kernels.rope, y.view(), ky.view(), q.view(), view_of(k), positions.view(),
      table.view(), int64_t(head_dim), interleaved, false);
  return {y, ky};
}

Rope rope_of(const char* op, const Tensor& y, Maybe positions, Maybe table, int head_dim, bool interleaved) {
  check(!positions == !table, Code::Option, op, ": positions and table of rope go together");
  if (!table) return {};
  check_rope(op, "y", y, *positions, *table, head_dim);
  return {positions->view(), table->view(), int64_t(head_dim), interleaved};
}

void rope_backward(const Tensor& dy, const Tensor& positions, const Tensor& table, int head_dim, bool interleaved) {
  check_rope("rope", "dy", dy, positions, table, head_dim);
  run(dy.device(), "ropeBackward", dy.device().kernels.rope, dy.view(), View{}, dy.view(), View{}, positions.view(),
      table.view(), int64_t(head_dim), interleaved, true);
}

}  // namespace lowrank::ops
