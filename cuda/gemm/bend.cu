// The host's side of cuda/gemm/bend.cuh.

#include "cuda/gemm/bend.cuh"

namespace lowrank::cuda::gemm {

Curve curve_of(const Product& p) {
  const Activated& f = p.activated ? p.activated : p.through;
  if (!f) return {};
  const Segment& first = p.segment[0];
  const bool half = p.y.dtype == DType::BF16 || p.y.dtype == DType::F16;
  const bool gelu = f.kind == Activation::Gelu || f.kind == Activation::GeluTanh;
  const bool oriented = p.segments > 0 && first.a.along_k && first.b.along_k == bool(p.activated);
  if (!half || !gelu || !oriented || p.n % 8 != 0 || !aligned(p.y) || !aligned(f.data)) return {};
  return {p.activated.data.data, p.through.data.data, f.kind};
}

void bend_rounded(const Product& p) {
  if (p.activated) activation(p.activated.data, p.y, p.activated.kind);
  if (p.through) activation_backward(p.y, p.y, p.through.data, p.through.kind);
}

}  // namespace lowrank::cuda::gemm
