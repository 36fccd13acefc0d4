// t = scale * dy b;  dx = dy w + drop(t a);  da = t^T drop(x);  db = dy^T s, of up to three layers on one x, whose dx
// are summed: dx is one product with all their k in a row.
//
// Six launches for one layer: forms of the factors and s; one pass over dy for the sums of t and db; these together;
// one pass over x for all da; their sums; and dx, in which t a is masked before the frozen part is added. Beside the
// product (344 us at M 8192, N = K = 4096, 800 TFLOP/s) the passes take 27 us and 24 us at 3 TB/s, the small launches
// about 6 us.

#include "cuda/gemm/weights.cuh"
#include "cuda/lora/layer.h"

namespace lowrank::cuda::lora {
namespace {

struct LayerPlan {
  bool wants_t, fused;
  int64_t t_pieces, db_pieces, width;
  __nv_bfloat16 *b_high = nullptr, *b_low = nullptr;  // [side, out]
  __nv_bfloat16 *s_high = nullptr, *s_low = nullptr;  // [rows, side]
  char *t_sum = nullptr, *db_sum = nullptr;
  void* t = nullptr;                          // [rows, r] in f32 or f64, without tensor cores
  void *t_slab = nullptr, *a_slab = nullptr;  // of dx
};

struct Plan {
  Plan(Workspace& workspace, const Layers& l) {
    sums = int64_t(bytes_of(l.sums()));
    leading = padded(l.in(), 8);
    for (int i = 0; i < l.count(); ++i) {
      begin[i] = sites.rank();
      if (l[i].da) sites.add(rank_of(l[i]), l[i].dropout);
    }
    for (int i = 0; i < l.count(); ++i) layer[i] = plan_layer(workspace, l, l[i]);
    const int64_t rows = l.rows(), rank = sites.rank();
    if (rank == 0) return;
    da_pieces = l.half() ? outer_pieces(rows, l.in(), rank) : plain_pieces(rows, l.in());
    da_sum = workspace.take(da_pieces * l.in() * rank * sums);
    if (!l.half()) return;
    t_high = workspace.take<__nv_bfloat16>(rows * rank);
    if (l.low()) t_low = workspace.take<__nv_bfloat16>(rows * rank);
  }

  LayerPlan plan_layer(Workspace& workspace, const Layers& l, const LoraLayer& layer) const {
    const int64_t rows = l.rows(), out = out_of(layer), r = rank_of(layer), side = l.half() ? side_of(layer) : r;
    LayerPlan p;
    p.wants_t = l.dx || layer.da;
    p.fused = l.half() && p.wants_t && layer.db && fused(side);
    p.t_pieces = !l.half() ? 1 : p.fused ? fused_pieces(out) : down_pieces(rows, out, side);
    p.db_pieces = l.half() ? outer_pieces(rows, out, side) : plain_pieces(rows, out);
    p.width = slab_width(r, l.left());
    if (l.half()) {
      const int64_t of_b = p.wants_t ? side * padded(out, 64) : 0, of_s = layer.db ? rows * side : 0;
      p.b_high = workspace.take<__nv_bfloat16>(of_b);
      p.s_high = workspace.take<__nv_bfloat16>(of_s);
      if (l.low()) p.b_low = workspace.take<__nv_bfloat16>(of_b), p.s_low = workspace.take<__nv_bfloat16>(of_s);
    } else if (p.wants_t) {
      p.t = workspace.take(rows * r * sums);
    }
    if (p.wants_t) p.t_sum = workspace.take(p.t_pieces * rows * side * sums);
    if (layer.db) p.db_sum = workspace.take(p.db_pieces * out * side * sums);
    if (!l.dx) return p;
    const int64_t element = int64_t(bytes_of(l.product()));
    p.t_slab = workspace.take(rows * p.width * element);
    p.a_slab = workspace.take(p.width * leading * element);
    return p;
  }

  int64_t sums;     // bytes of an element
  int64_t leading;  // of the slabs of a
  Sites sites;      // of those that want da
  int64_t begin[MAX_ADAPTERS];
  LayerPlan layer[MAX_ADAPTERS];
  int64_t da_pieces = 0;
  char* da_sum = nullptr;
  __nv_bfloat16 *t_high = nullptr, *t_low = nullptr;  // [rows, rank of sites]
};

void prepare_factors(const Layers& l, const Plan& plan) {
  CastFactors casts;
  const int64_t in = l.in();
  for (int i = 0; i < l.count(); ++i) {
    const LoraLayer& layer = l[i];
    const LayerPlan& p = plan.layer[i];
    const int64_t r = rank_of(layer), out = out_of(layer), side = side_of(layer);
    if (l.half() && p.wants_t) {
      CastFactor b;
      b.from = layer.b.data, b.type = layer.b.dtype;
      b.count = out, b.rank = r, b.from_i = r, b.from_j = 1, b.along_i = true;
      b.high = p.b_high, b.low = p.b_low, b.split_i = 1, b.split_j = padded(out, 64);
      b.padded_count = b.split_j, b.padded_rank = side;
      casts.add(b);
    }
    if (l.half() && layer.db) {
      CastFactor s;
      s.from = layer.s.data, s.type = layer.s.dtype;
      s.count = l.rows(), s.rank = r, s.from_i = r, s.from_j = 1;
      s.high = p.s_high, s.low = p.s_low, s.split_i = side, s.split_j = 1, s.padded_rank = side;
      casts.add(s);
    }
    if (l.dx) {
      CastFactor a;
      a.from = layer.a.data, a.type = layer.a.dtype;
      a.count = in, a.rank = r, a.from_i = 1, a.from_j = in, a.along_i = true;
      a.slab = p.a_slab, a.form = l.right(), a.width = p.width, a.slab_i = 1, a.slab_j = plan.leading;
      casts.add(a);
    }
  }
  cast_factors(casts, l.product());
}

// Sums of t and of db: what is read of dy.
void pass_over_dy(const Layers& l, const LoraLayer& layer, const LayerPlan& p) {
  const int64_t r = rank_of(layer);
  if (!l.half()) {
    if (p.wants_t) plain_down(p.t_sum, layer.dy, {layer.b, r, 1}, r, {});
    if (layer.db) plain_outer(p.db_sum, layer.dy, {layer.s, r, 1}, r, {});
    return;
  }
  Thin thin;
  thin.z = layer.dy;
  thin.sites.add(r, {});
  thin.down = {p.b_high, p.b_low, padded(out_of(layer), 64)};
  thin.outer = {p.s_high, p.s_low, side_of(layer)};
  thin.down_sum = reinterpret_cast<float*>(p.t_sum);
  thin.outer_sum = reinterpret_cast<float*>(p.db_sum);
  if (p.fused) return down_and_outer(thin);
  if (p.wants_t) down(thin);
  if (layer.db) outer(thin);
}

void sum_t_and_db(const Layers& l, const Plan& plan) {
  CastFactors casts;
  const int64_t rows = l.rows();
  for (int i = 0; i < l.count(); ++i) {
    const LoraLayer& layer = l[i];
    const LayerPlan& p = plan.layer[i];
    const int64_t r = rank_of(layer), side = l.half() ? side_of(layer) : r;
    if (p.wants_t) {
      CastFactor t;
      t.from = p.t_sum, t.type = l.sums();
      t.count = rows, t.rank = r, t.from_i = side, t.from_j = 1;
      t.pieces = p.t_pieces, t.plane = rows * side, t.factor = layer.scale;
      t.plain = p.t, t.plain_type = l.sums(), t.plain_i = r, t.plain_j = 1;
      t.slab = p.t_slab, t.form = l.left(), t.width = p.width, t.slab_i = p.width, t.slab_j = 1;
      if (l.half() && layer.da) {
        t.high = plan.t_high + plan.begin[i], t.low = plan.t_low ? plan.t_low + plan.begin[i] : nullptr;
        t.split_i = plan.sites.rank(), t.split_j = 1, t.padded_rank = side;
      }
      casts.add(t);
    }
    if (layer.db) {
      CastFactor db;
      db.from = p.db_sum, db.type = l.sums();
      db.count = out_of(layer), db.rank = r, db.from_i = side, db.from_j = 1;
      db.pieces = p.db_pieces, db.plane = out_of(layer) * side;
      db.plain = layer.db.data, db.plain_type = layer.db.dtype, db.plain_i = r, db.plain_j = 1;
      casts.add(db);
    }
  }
  cast_factors(casts, l.product());
}

void sum_da(const Layers& l, const Plan& plan) {
  const int64_t in = l.in(), rank = plan.sites.rank();
  if (rank == 0) return;
  if (l.half()) {
    Thin thin;
    thin.z = l.x;
    thin.sites = plan.sites;
    thin.outer = {plan.t_high, plan.t_low, rank};
    thin.outer_sum = reinterpret_cast<float*>(plan.da_sum);
    thin.across = true;
    outer(thin);
  }
  CastFactors casts;
  for (int i = 0; i < l.count(); ++i) {
    const LoraLayer& layer = l[i];
    if (!layer.da) continue;
    const int64_t r = rank_of(layer);
    char* sum = plan.da_sum + (l.half() ? 1 : plan.da_pieces) * plan.begin[i] * in * plan.sums;
    View t = layer.s;
    t.data = plan.layer[i].t;
    if (!l.half()) plain_outer(sum, l.x, {t, r, 1}, r, layer.dropout);
    CastFactor da;
    da.from = sum, da.type = l.sums();
    da.count = in, da.rank = r, da.from_i = l.half() ? 1 : r, da.from_j = l.half() ? in : 1;
    da.pieces = plan.da_pieces, da.plane = in * (l.half() ? rank : r);
    if (layer.dropout.active()) da.factor = layer.dropout.multiplier();
    da.plain = layer.da.data, da.plain_type = layer.da.dtype, da.plain_i = 1, da.plain_j = in;
    da.along_i = l.half();
    casts.add(da);
  }
  cast_factors(casts, l.product());
}

void multiply_dx(const Layers& l, const Plan& plan) {
  gemm::Product p;
  p.type = l.product(), p.tf32 = l.compute == Compute::TF32;
  p.m = l.rows(), p.n = l.in();
  p.segments = p.slabs = l.count();
  static_assert(MAX_ADAPTERS == 3);
  Scratch left[] = {Scratch(Owner::Left, 0), Scratch(Owner::Left, 1), Scratch(Owner::Left, 2)};
  Scratch right[] = {Scratch(Owner::Right, 0), Scratch(Owner::Right, 1), Scratch(Owner::Right, 2)};
  for (int i = 0; i < l.count(); ++i) {
    const LoraLayer& layer = l[i];
    const LayerPlan& own = plan.layer[i];
    p.segment[i] = {out_of(layer), gemm::operand_in(layer.dy, l.product(), true, left[i]),
                    gemm::operand_in(layer.w, l.product(), false, right[i])};
    p.slab[i] = {own.width, {own.t_slab, own.width, true}, {own.a_slab, plan.leading, false}, layer.dropout};
  }
  p.y = l.dx;
  gemm::multiply(p);
}

}  // namespace

void backward(const Layers& l) {
  Scratch workspace(Owner::Adapters);
  const Plan plan = plan_in<Plan>(workspace, l);
  prepare_factors(l, plan);
  for (int i = 0; i < l.count(); ++i) pass_over_dy(l, l[i], plan.layer[i]);
  sum_t_and_db(l, plan);
  sum_da(l, plan);
  if (l.dx && l.rows() > 0) multiply_dx(l, plan);
}

}  // namespace lowrank::cuda::lora
