#include "core/ops/checks.h"

namespace lowrank::ops {

void accumulate(const Tensor& y, const Tensor& x, double alpha) {
  check_float("accumulate", "y", y);
  check_like("accumulate", "x", x, y);
  check(y.size() == x.size(), Code::Shape, "accumulate: ", x.shape, " into ", y.shape);
  run(y.device(), "accumulate", y.device().kernels.accumulate, y.view(), x.view(), alpha);
}

void accumulate_all(Tensors y, Tensors x) {
  const char* op = "accumulateAll";
  check(y.size() == x.size(), Code::Option, op, ": ", y.size(), " sums and ", x.size(), " tensors to add");
  Accumulations pairs;
  const auto hand_over = [&] {
    if (pairs.count > 0) run(y[0].device(), op, y[0].device().kernels.accumulate_all, pairs);
    pairs.count = 0;
  };
  for (size_t i = 0; i < y.size(); ++i) {
    check(y[i].defined() && x[i].defined(), Code::Option, op, ": tensor ", i, " is absent");
    check_float(op, "y", y[i]);
    check_like(op, "y", y[i], y[0]);
    check_like(op, "x", x[i], y[i]);
    check(y[i].size() == x[i].size(), Code::Shape, op, ": ", x[i].shape, " into ", y[i].shape);
    pairs.pair[pairs.count++] = {y[i].view(), x[i].view()};
    if (pairs.count == Accumulations::MOST) hand_over();
  }
  hand_over();
}

}  // namespace lowrank::ops
