#include "core/ops/checks.h"

namespace lowrank::ops {

Tensor embedding(const Tensor& table, const Tensor& ids, DType dtype) {
  check_matrix("embedding", "table", table);
  check_dtype("embedding", "ids", ids, DType::I32);
  check_same_device("embedding", table, ids);
  check(table.dtype == DType::F32 || table.dtype == DType::F64 || table.dtype == DType::BF16 ||
            table.dtype == DType::F16 || is_blocks(table.dtype),
        Code::DType, "embedding: table is ", name_of(table.dtype), ", expected f32, f64, bf16, f16 or blocks");
  auto y = Tensor::empty(table.device(), {ids.size(), table.shape[1]}, dtype);
  check_float("embedding", "y", y);
  check((dtype == DType::F64) == (table.dtype == DType::F64), Code::DType, "embedding: table is ", name_of(table.dtype),
        ", activations are ", name_of(dtype));
  check_indices("embedding", "id", ids, table.shape[0]);
  run(table.device(), "embedding", table.device().kernels.embedding, y.view(), table.view(), ids.view());
  return y;
}

Tensor embedding_backward(const Tensor& dy, const Tensor& ids, int64_t rows, DType dtype) {
  check_float("embedding", "dy", dy);
  check_matrix("embedding", "dy", dy);
  check_same_device("embedding", dy, ids);
  check_dtype("embedding", "ids", ids, DType::I32);
  check(dy.shape[0] == ids.size(), Code::Shape, "embedding: dy ", dy.shape, " for ids ", ids.shape);
  auto dtable = Tensor::empty(dy.device(), {rows, dy.shape[1]}, dtype);
  check_parameter("embedding", "gradient", dtable, dy);
  check_indices("embeddingBackward", "id", ids, rows);
  run(dy.device(), "embeddingBackward", dy.device().kernels.embedding_backward, dtable.view(), dy.view(), ids.view());
  return dtable;
}

}  // namespace lowrank::ops
