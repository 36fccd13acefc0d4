// t = scale * dy b;  dx = dy w + drop(t a);  da = t^T drop(x);  db = dy^T s, of up to three layers on one x, whose dx
// are summed: dx is one product with all their k in a row.
//
// Three launches for one layer: one pass over dy for t and db (of all layers, or groups of rows, where they fit one
// launch), beside which a becomes a slab; one pass over x for all da; and dx, in which t a is masked before the frozen
// part is added. Two where t is left to the layers whose backward comes next: their launch over dy passes over this x
// too. Beside the product (344 us at M 8192, N = K = 4096, 800 TFLOP/s) the passes take 27 us and 24 us at
// 3 TB/s.

#include "cuda/gemm/weights.cuh"
#include "cuda/lora/layer.h"

namespace lowrank::cuda::lora {
namespace {

struct LayerPlan {
  bool wants_t, fused;
  int64_t t_pieces, db_pieces, width;
  char *t_sum = nullptr, *db_sum = nullptr;
  void* t = nullptr;                          // for da: [rows, r]; on tensor cores beside the others', [rows, rank]
  char *t_slab = nullptr, *a_slab = nullptr;  // of dx, t's lines `pitch` apart
  int64_t pitch = 0, first = 0;               // t's columns begin there
};

// Of the da that an earlier call has left.
struct EarlierPlan {
  EarlierPlan() = default;
  EarlierPlan(Workspace& workspace, const LoraGradients& left) {
    for (int i = 0; i < left.count; ++i) sites.add(left.layer[i].da.dims[0], left.layer[i].dropout);
    pieces = outer_pieces(left.x.rows(), left.x.cols(), sites.rank());
    sum = workspace.take(pieces * left.x.cols() * sites.rank() * int64_t(sizeof(float)));
  }

  Sites sites;
  int64_t pieces = 0;
  char* sum = nullptr;
};

struct Plan {
  // Slabs lie in `wide`, from column `first` of it on, else apart.
  Plan(Workspace& workspace, const Layers& l, const Wide* wide = nullptr, int64_t row = 0, int64_t first = 0) {
    sums = int64_t(bytes_of(l.sums()));
    leading = l.count() ? padded(l.in(), 8) : 0;
    for (int i = 0; i < l.count(); ++i) {
      begin[i] = sites.rank();
      if (l[i].da) sites.add(rank_of(l[i]), l[i].dropout);
    }
    for (int i = 0; i < l.count(); ++i) layer[i] = plan_layer(workspace, l, l[i], wide, row, first);
    if (l.earlier.count > 0) earlier = EarlierPlan(workspace, l.earlier);
    const int64_t rows = l.rows(), rank = sites.rank();
    if (rank == 0) return;
    if (!l.t) {
      da_pieces = l.half() ? outer_pieces(rows, l.in(), rank) : plain_pieces(rows, l.in());
      da_sum = workspace.take(da_pieces * l.in() * rank * sums);
    }
    if (!l.half()) return;
    char* t = l.t ? l.t.as<char>() : workspace.take(rows * rank * sums);
    for (int i = 0; i < l.count(); ++i)
      if (l[i].da) layer[i].t = t + begin[i] * sums;
  }

  LayerPlan plan_layer(Workspace& workspace, const Layers& l, const LoraLayer& layer, const Wide* wide, int64_t row,
                       int64_t first) const {
    const int64_t rows = l.rows(), out = out_of(layer), r = rank_of(layer), side = l.half() ? side_of(layer) : r;
    LayerPlan p;
    p.wants_t = l.dx || layer.da;
    p.fused = l.half() && p.wants_t && layer.db && fused(side);
    p.t_pieces = !l.half() ? 1 : p.fused ? fused_pieces(out) : down_pieces(rows, out, side);
    p.db_pieces = l.half() ? outer_pieces(rows, out, side) : plain_pieces(rows, out);
    p.width = slab_width(r, l.left());
    if (layer.da && !l.half()) p.t = workspace.take(rows * r * sums);
    if (p.wants_t) p.t_sum = workspace.take(p.t_pieces * rows * side * sums);
    if (layer.db) p.db_sum = workspace.take(p.db_pieces * out * side * sums);
    if (!l.dx) return p;
    const int64_t element = int64_t(bytes_of(l.product()));
    p.pitch = wide ? wide->width : p.width, p.first = first;
    p.t_slab = wide ? wide->left + (row * p.pitch + first) * element : workspace.take(rows * p.width * element);
    p.a_slab = wide ? wide->right + first * leading * element : workspace.take(p.width * leading * element);
    return p;
  }

  int64_t sums;     // bytes of an element
  int64_t leading;  // of the slabs of a
  Sites sites;      // of those that want da
  int64_t begin[MAX_ADAPTERS];
  LayerPlan layer[MAX_ADAPTERS];
  int64_t da_pieces = 0;
  char* da_sum = nullptr;
  EarlierPlan earlier;
};

// The slab of a, of dx.
CastFactor cast_of_a(const Layers& l, const Plan& plan, int i) {
  const LayerPlan& p = plan.layer[i];
  CastFactor a;
  a.from = l[i].a.data, a.type = l[i].a.dtype;
  a.count = l.in(), a.rank = rank_of(l[i]), a.from_i = 1, a.from_j = l.in(), a.along_i = true;
  a.slab = p.a_slab, a.form = l.right(), a.width = p.width, a.slab_i = 1, a.slab_j = plan.leading;
  return a;
}

CastFactor cast_of_t(const Layers& l, const Plan& plan, int i) {
  const LoraLayer& layer = l[i];
  const LayerPlan& p = plan.layer[i];
  const int64_t rows = l.rows(), r = rank_of(layer), side = l.half() ? side_of(layer) : r;
  CastFactor t;
  t.from = p.t_sum, t.type = l.sums();
  t.count = rows, t.rank = r, t.from_i = side, t.from_j = 1;
  t.pieces = p.t_pieces, t.plane = rows * side, t.factor = layer.scale;
  t.plain = p.t, t.plain_type = l.sums(), t.plain_i = l.half() ? plan.sites.rank() : r, t.plain_j = 1;
  t.slab = p.t_slab, t.form = l.left(), t.width = p.width, t.slab_i = p.pitch, t.slab_j = 1;
  share_lines(t, p.pitch, p.first);
  return t;
}

CastFactor cast_of_db(const Layers& l, const Plan& plan, int i) {
  const LoraLayer& layer = l[i];
  const LayerPlan& p = plan.layer[i];
  const int64_t r = rank_of(layer), side = l.half() ? side_of(layer) : r;
  CastFactor db;
  db.from = p.db_sum, db.type = l.sums();
  db.count = out_of(layer), db.rank = r, db.from_i = side, db.from_j = 1;
  db.pieces = p.db_pieces, db.plane = out_of(layer) * side;
  db.plain = layer.db.data, db.plain_type = layer.db.dtype, db.plain_i = r, db.plain_j = 1;
  return db;
}

// `sum`: of its first column of the rank.
CastFactor cast_of_da(const View& da, const Dropout& dropout, const char* sum, int64_t pieces, int64_t plane) {
  CastFactor cast;
  cast.from = sum;
  cast.rank = da.dims[0], cast.count = da.dims[1];
  cast.pieces = pieces, cast.plane = plane;
  if (dropout.active()) cast.factor = dropout.multiplier();
  cast.plain = da.data, cast.plain_type = da.dtype, cast.plain_i = 1, cast.plain_j = da.dims[1];
  return cast;
}

CastFactor cast_of_plain_da(const Layers& l, const Plan& plan, int i) {
  const int64_t in = l.in(), r = rank_of(l[i]);
  CastFactor da = cast_of_da(l[i].da, l[i].dropout, plan.da_sum + plan.da_pieces * plan.begin[i] * in * plan.sums,
                             plan.da_pieces, in * r);
  da.type = l.sums(), da.from_i = r, da.from_j = 1;
  return da;
}

// From sums in `sum`, [pieces][all ranks, columns]; `begin`: its first rank.
CastFactor cast_of_half_da(const View& da, const Dropout& dropout, const char* sum, int64_t pieces, int64_t ranks,
                           int64_t begin) {
  const int64_t in = da.dims[1];
  CastFactor cast = cast_of_da(da, dropout, sum + begin * in * int64_t(sizeof(float)), pieces, in * ranks);
  cast.from_i = 1, cast.from_j = in, cast.along_i = true;
  return cast;
}

// Passes over dy, by their kind.
struct PassesOverDy {
  Thins fused, down, outer;
};

// t and db: what is read of dy.
void add_pass(PassesOverDy& passes, const Layers& l, const Plan& plan, int i) {
  const LoraLayer& layer = l[i];
  const LayerPlan& p = plan.layer[i];
  Thin thin;
  thin.z = layer.dy;
  thin.sites.add(rank_of(layer), {});
  thin.down.stride_c = int32_t(rank_of(layer)), thin.down.stride_j = 1;
  thin.down.add(layer.b, rank_of(layer));
  thin.outer.stride_c = int32_t(rank_of(layer)), thin.outer.stride_j = 1;
  thin.outer.add(layer.s, rank_of(layer));
  thin.low = l.low();
  thin.down_sum = reinterpret_cast<float*>(p.t_sum);
  thin.outer_sum = reinterpret_cast<float*>(p.db_sum);
  if (p.wants_t) thin.down_casts = {cast_of_t(l, plan, i)};
  if (layer.db) thin.outer_casts = {cast_of_db(l, plan, i)};
  if (l.dx) thin.casts = {cast_of_a(l, plan, i)};
  if (p.fused) return passes.fused.push_back(thin);
  if (p.wants_t) passes.down.push_back(thin);
  thin.casts.clear();
  if (layer.db) passes.outer.push_back(thin);
}

// A pass over x for da, to which add_da adds each.
Thin pass_over_x(const View& x, const Sites& sites, bool low, char* sum) {
  Thin thin;
  thin.z = x;
  thin.sites = sites;
  thin.outer.stride_c = int32_t(sites.rank()), thin.outer.stride_j = 1;
  thin.low = low;
  thin.outer_sum = reinterpret_cast<float*>(sum);
  thin.across = true;
  return thin;
}
// t: of its first column of the rank; in f32.
void add_da(Thin& thin, const View& da, const Dropout& dropout, void* t, int64_t pieces, int64_t begin) {
  View factor;
  factor.data = t;
  thin.outer.add(factor, da.dims[0]);
  const char* sum = reinterpret_cast<const char*>(thin.outer_sum);
  thin.outer_casts.push_back(cast_of_half_da(da, dropout, sum, pieces, thin.sites.rank(), begin));
}

void add_pass_over_x(Thins& thins, const Layers& l, const Plan& plan) {
  if (plan.da_pieces == 0) return;
  Thin thin = pass_over_x(l.x, plan.sites, l.low(), plan.da_sum);
  for (int i = 0; i < l.count(); ++i)
    if (l[i].da) add_da(thin, l[i].da, l[i].dropout, plan.layer[i].t, plan.da_pieces, plan.begin[i]);
  thins.push_back(thin);
}

// What an earlier call left.
void add_earlier(Thins& thins, const Layers& l, const EarlierPlan& plan) {
  const LoraGradients& left = l.earlier;
  if (left.count == 0) return;
  Thin thin = pass_over_x(left.x, plan.sites, l.low(), plan.sum);
  for (int i = 0; i < left.count; ++i) {
    const int64_t begin = plan.sites.begin(i);
    add_da(thin, left.layer[i].da, left.layer[i].dropout, left.t.as<float>() + begin, plan.pieces, begin);
  }
  thins.push_back(thin);
}

// The same in plain multiply-adds.
void differentiate_plainly(const Layers& l, const Plan& plan) {
  CastFactors sums, gradients;
  for (int i = 0; i < l.count(); ++i) {
    const LoraLayer& layer = l[i];
    const LayerPlan& p = plan.layer[i];
    const int64_t r = rank_of(layer);
    if (p.wants_t) plain_down(p.t_sum, layer.dy, {layer.b, r, 1}, r, {});
    if (layer.db) plain_outer(p.db_sum, layer.dy, {layer.s, r, 1}, r, {});
    if (p.wants_t) sums.push_back(cast_of_t(l, plan, i));
    if (layer.db) sums.push_back(cast_of_db(l, plan, i));
    if (l.dx) sums.push_back(cast_of_a(l, plan, i));
  }
  cast_factors(sums, l.product());
  for (int i = 0; i < l.count(); ++i) {
    if (!l[i].da) continue;
    const CastFactor da = cast_of_plain_da(l, plan, i);
    View t = l[i].s;
    t.data = plan.layer[i].t;
    plain_outer(const_cast<void*>(da.from), l.x, {t, t.dims[1], 1}, t.dims[1], l[i].dropout);
    gradients.push_back(da);
  }
  cast_factors(gradients, l.product());
}

// All but dx: of layers of one input, and what an earlier call left; or of groups of rows.
void differentiate(const Layers* l, const Plan* plans, size_t count) {
  PassesOverDy passes;
  Thins over_x;
  for (size_t i = 0; i < count; ++i) {
    if (!l->half()) {
      differentiate_plainly(l[i], plans[i]);
      continue;
    }
    for (int k = 0; k < l[i].count(); ++k) add_pass(passes, l[i], plans[i], k);
    add_earlier(passes.fused.empty() ? passes.outer : passes.fused, l[i], plans[i].earlier);
    add_pass_over_x(over_x, l[i], plans[i]);
  }
  down_and_outer(passes.fused);
  down(passes.down);
  outer(passes.outer);
  outer(over_x);
}

struct RowsPlan {
  RowsPlan(Workspace& workspace, const LoraRows& op, const std::vector<Layers>& groups) {
    const Layers& l = groups[0];
    const int64_t element = int64_t(bytes_of(l.product())), in = op.x.cols();
    for (const Layers& own : groups) wide.width += slab_width(rank_of(own[0]), l.left());
    if (op.dx) {
      wide.left = workspace.take(op.x.rows() * wide.width * element);
      wide.right = workspace.take(wide.width * padded(in, 8) * element);
    }
    int64_t first = 0;
    size_t next = 0;
    for (const LoraRows::Group& own : op) {
      if (!own.a) continue;
      plans.emplace_back(workspace, groups[next++], &wide, own.begin, first);
      first += plans.back().layer[0].width;
    }
  }

  Wide wide;
  std::vector<Plan> plans;
};

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
    p.slab[i] = {own.width, {own.t_slab, own.pitch, true}, {own.a_slab, plan.leading, false}, layer.dropout};
  }
  p.residual = l.residual, p.y = l.dx, p.through = l.own.through;
  gemm::multiply(p);
}

// With adapters of rows, of which there may be none.
void multiply_dx(const LoraRows& op, const Wide& wide) {
  gemm::Product p;
  p.type = gemm::product_type(op.x.dtype, op.compute), p.tf32 = op.compute == Compute::TF32;
  p.m = op.dx.rows(), p.n = op.dx.cols();
  p.segments = 1;
  Scratch left(Owner::Left), right(Owner::Right);
  p.segment[0] = {op.dy.cols(), gemm::operand_in(op.dy, p.type, true, left),
                  gemm::operand_in(op.w, p.type, false, right)};
  p.slabs = wide.width > 0;
  p.slab[0] = {wide.width, {wide.left, wide.width, true}, {wide.right, padded(p.n, 8), false}, op.dropout};
  p.y = op.dx;
  gemm::multiply(p);
}

}  // namespace

void backward(const Layers& l) {
  Scratch workspace(Owner::Adapters);
  const Plan plan = plan_in<Plan>(workspace, l);
  differentiate(&l, &plan, 1);
  if (l.dx && l.rows() > 0) multiply_dx(l, plan);
}

void backward(const LoraRows& op) {
  const std::vector<Layers> groups = groups_of(op);
  if (groups.empty()) return op.dx ? multiply_dx(op, {}) : void();
  Scratch workspace(Owner::Adapters);
  const RowsPlan plan = plan_in<RowsPlan>(workspace, op, groups);
  if (op.dx && has_plain_rows(op)) clear(plan.wide, op.x.rows(), groups[0].product());
  differentiate(groups.data(), plan.plans.data(), groups.size());
  if (op.dx) multiply_dx(op, plan.wide);
}

}  // namespace lowrank::cuda::lora
