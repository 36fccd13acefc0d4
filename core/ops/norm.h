#pragma once
#include "core/ops/checks.h"

// What the norms share: y = norm(h) w with h = drop(x) + residual?, and statistics of rows, as wide as sums.
namespace lowrank::ops {

inline void check_norm(const char* op, const Tensor& x, Maybe residual, const Tensor& w, const Dropout& dropout) {
  check_float(op, "x", x);
  check_matrix(op, "x", x);
  if (residual) check_twin(op, "residual", *residual, x);
  check_parameter(op, "weight", w, x);
  check_shape(op, "weight", w, {x.cols()});
  check_dropout_rows(op, dropout, x.rows());
}

inline void check_norm_backward(const char* op, const Tensor& dy, Maybe dh, const Tensor& h, const Tensor& w) {
  check_float(op, "h", h);
  check_matrix(op, "h", h);
  check_twin(op, "dy", dy, h);
  if (dh) check_twin(op, "dh", *dh, h);
  check_parameter(op, "weight", w, h);
  check_shape(op, "weight", w, {h.cols()});
}

inline void check_statistic(const char* op, const char* what, const Tensor& s, const Tensor& h) {
  check_same_device(op, s, h);
  check_dtype(op, what, s, sums_of(h.dtype));
  check_shape(op, what, s, {h.rows()});
}

inline Tensor statistic_of(const Tensor& x) { return Tensor::empty(x.device(), {x.rows()}, sums_of(x.dtype)); }

// h; undefined where it would equal x.
inline Tensor hidden_of(const Tensor& x, Maybe residual, const Dropout& dropout) {
  return residual || dropout.active() ? like(x) : Tensor{};
}

}  // namespace lowrank::ops
