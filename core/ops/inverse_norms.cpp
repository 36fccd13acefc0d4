#include "core/ops/checks.h"

namespace lowrank::ops {

Tensor inverse_norms(const Tensor& squares, const Tensor& wa, const Tensor& gram, const Tensor& b, double scale) {
  check_float("inverseNorms", "b", b);
  check_matrix("inverseNorms", "b", b);
  check(!is_half(b.dtype), Code::DType, "inverseNorms: no norms in ", name_of(b.dtype), "; cast to f32");
  for (const auto& [what, t] : {std::pair{"squares", &squares}, {"wa", &wa}, {"gram", &gram}})
    check_like("inverseNorms", what, *t, b);
  const int64_t out = b.rows(), r = b.cols();
  check_shape("inverseNorms", "squares", squares, {out});
  check_shape("inverseNorms", "wa", wa, {r, out});
  check_shape("inverseNorms", "gram", gram, {r, r});
  auto y = like(squares);
  run(b.device(), "inverseNorms", b.device().kernels.inverse_norms, y.view(), squares.view(), wa.view(), gram.view(),
      b.view(), scale);
  return y;
}

}  // namespace lowrank::ops
