// y = x w^T + bias + s b^T with s = scale * drop(x) a^T, of up to three layers on one x.
//
// Four launches for one layer: the factors into the forms their products read, s as one pass over x for all adapters,
// the sums of s together, and the frozen product, whose k is longer by the rank. Beside the product (344 us of 275
// GFLOP at M 8192, N = K = 4096, 800 TFLOP/s) the pass over x takes 23 us at 3 TB/s, the small launches about 4 us. Few
// rows beside a quantised weight: its codes are read in the product's loop (cuda/gemm/quantized_rows.cu).

#include "cuda/gemm/quantized_rows.cuh"
#include "cuda/gemm/weights.cuh"
#include "cuda/lora/layer.h"

namespace lowrank::cuda::lora {
namespace {

struct Plan {
  Plan(Workspace& workspace, const Layers& l) {
    const int64_t rows = l.rows(), in = padded(l.in(), 64), element = int64_t(bytes_of(l.product()));
    for (int i = 0; i < l.count(); ++i) sites.add(rank_of(l[i]), l[i].dropout);
    const int64_t rank = sites.rank();
    pieces = l.half() ? down_pieces(rows, l.x.cols(), rank) : 1;
    sum = workspace.take(pieces * rows * rank * int64_t(bytes_of(l.sums())));
    if (l.half()) {
      high = workspace.take<__nv_bfloat16>(rank * in);
      low = l.low() ? workspace.take<__nv_bfloat16>(rank * in) : nullptr;
    }
    for (int i = 0; i < l.count(); ++i) {
      width[i] = slab_width(rank_of(l[i]), l.left());
      s[i] = workspace.take(rows * width[i] * element);
      b[i] = workspace.take(out_of(l[i]) * width[i] * element);
    }
  }

  Sites sites;
  int64_t pieces, width[MAX_ADAPTERS];
  char* sum;
  __nv_bfloat16 *high = nullptr, *low = nullptr;  // a
  void *s[MAX_ADAPTERS], *b[MAX_ADAPTERS];        // slabs
};

void prepare_factors(const Layers& l, const Plan& plan) {
  CastFactors casts;
  const int64_t in = l.in(), leading = padded(in, 64);
  for (int i = 0; i < l.count(); ++i) {
    const LoraLayer& layer = l[i];
    const int64_t r = rank_of(layer);
    CastFactor b;
    b.from = layer.b.data, b.type = layer.b.dtype;
    b.count = out_of(layer), b.rank = r, b.from_i = r, b.from_j = 1;
    b.slab = plan.b[i], b.form = l.right(), b.width = plan.width[i], b.slab_i = b.width, b.slab_j = 1;
    casts.add(b);
    if (!l.half()) continue;
    CastFactor a;
    a.from = layer.a.data, a.type = layer.a.dtype;
    a.count = in, a.rank = r, a.from_i = 1, a.from_j = in, a.along_i = true;
    const int64_t begin = plan.sites.begin(i) * leading;
    a.high = plan.high + begin, a.low = plan.low ? plan.low + begin : nullptr;
    a.split_i = 1, a.split_j = leading, a.padded_count = leading, a.padded_rank = side_of(layer);
    casts.add(a);
  }
  cast_factors(casts, l.product());
}

void sum_s(const Layers& l, const Plan& plan) {
  const int64_t rows = l.rows(), rank = plan.sites.rank();
  if (l.half()) {
    Thin thin;
    thin.z = l.x;
    thin.sites = plan.sites;
    thin.down = {plan.high, plan.low, padded(l.in(), 64)};
    thin.down_sum = reinterpret_cast<float*>(plan.sum);
    down(thin);
  }
  CastFactors casts;
  for (int i = 0; i < l.count(); ++i) {
    const LoraLayer& layer = l[i];
    const int64_t r = rank_of(layer);
    char* sum = plan.sum + (l.half() ? 1 : rows) * plan.sites.begin(i) * int64_t(bytes_of(l.sums()));
    if (!l.half()) plain_down(sum, l.x, {layer.a, 1, l.in()}, r, layer.dropout);
    CastFactor s;
    s.from = sum, s.type = l.sums();
    s.count = rows, s.rank = r, s.from_i = l.half() ? rank : r, s.from_j = 1;
    s.pieces = plan.pieces, s.plane = rows * rank;
    s.factor = layer.dropout.active() ? layer.scale * layer.dropout.multiplier() : layer.scale;
    s.plain = layer.s.data, s.plain_type = layer.s.dtype, s.plain_i = r, s.plain_j = 1;
    s.slab = plan.s[i], s.form = l.left(), s.width = plan.width[i], s.slab_i = s.width, s.slab_j = 1;
    casts.add(s);
  }
  cast_factors(casts, l.product());
}

}  // namespace

void forward(const Layers& l) {
  if (l.rows() == 0) return;
  Scratch workspace(Owner::Adapters), left(Owner::Left);
  const Plan plan = plan_in<Plan>(workspace, l);
  prepare_factors(l, plan);
  sum_s(l, plan);
  const gemm::Operand x = gemm::operand_in(l.x, l.product(), true, left);
  for (int i = 0; i < l.count(); ++i) {
    const LoraLayer& layer = l[i];
    gemm::Product p;
    p.type = l.product(), p.tf32 = l.compute == Compute::TF32;
    p.m = l.rows(), p.n = out_of(layer);
    p.slabs = 1;
    p.slab[0] = {plan.width[i], {plan.s[i], plan.width[i], true}, {plan.b[i], plan.width[i], true}, {}};
    p.bias = layer.bias;
    p.y = layer.y;
    if (layer.turned) p.rope = l.rope;
    if (gemm::suits_quantized(l.x, layer.w)) {
      gemm::multiply_quantized(p, l.x, layer.w);
      continue;
    }
    p.segments = 1;
    Scratch right(Owner::Right);
    p.segment[0] = {l.in(), x, gemm::operand_in(layer.w, l.product(), true, right)};
    gemm::multiply(p);
  }
}

}  // namespace lowrank::cuda::lora
