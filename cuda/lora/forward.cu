// y = x w^T + bias + s b^T with s = scale * drop(x) a^T, of up to three layers on one x, whose products are one launch.
//
// Two launches for one layer: s as one pass over x for all adapters, beside which b becomes a slab, and the frozen
// product, whose k is longer by the rank. Beside the product (344 us of 275
// GFLOP at M 8192, N = K = 4096, 800 TFLOP/s) the pass over x takes 23 us at 3 TB/s, the small launches about 4 us. Few
// rows beside a quantised weight: its codes are read in the product's loop (cuda/gemm/quantized_rows.cu).

#include "cuda/gemm/quantized_rows.cuh"
#include "cuda/gemm/weights.cuh"
#include "cuda/lora/layer.h"

namespace lowrank::cuda::lora {
namespace {

// Where the slab of one adapter lies: lines `pitch` elements apart, of which it has columns from `first` on.
struct Slabs {
  char *s, *b;
  int64_t width, pitch, first;
};

struct Plan {
  // In `wide`, from column `first` of it on, else in slabs of its own.
  Plan(Workspace& workspace, const Layers& l, const Wide* wide = nullptr, int64_t begin = 0, int64_t first = 0) {
    const int64_t rows = l.rows(), element = int64_t(bytes_of(l.product()));
    for (int i = 0; i < l.count(); ++i) sites.add(rank_of(l[i]), l[i].dropout);
    const int64_t rank = sites.rank();
    pieces = l.half() ? down_pieces(rows, l.x.cols(), rank) : 1;
    sum = workspace.take(pieces * rows * rank * int64_t(bytes_of(l.sums())));
    for (int i = 0; i < l.count(); ++i) {
      const int64_t width = slab_width(rank_of(l[i]), l.left());
      if (wide)
        slab[i] = {wide->left + (begin * wide->width + first) * element, wide->right + first * element, width,
                   wide->width, first};
      else
        slab[i] = {workspace.take(rows * width * element), workspace.take(out_of(l[i]) * width * element), width, width,
                   0};
    }
  }

  Sites sites;
  int64_t pieces;
  char* sum;
  Slabs slab[MAX_ADAPTERS];
};

// The slabs of b.
CastFactors casts_of_b(const Layers& l, const Plan& plan) {
  CastFactors casts;
  for (int i = 0; i < l.count(); ++i) {
    const Slabs& slab = plan.slab[i];
    const int64_t r = rank_of(l[i]);
    CastFactor b;
    b.from = l[i].b.data, b.type = l[i].b.dtype;
    b.count = out_of(l[i]), b.rank = r, b.from_i = r, b.from_j = 1;
    b.slab = slab.b, b.form = l.right(), b.width = slab.width, b.slab_i = slab.pitch, b.slab_j = 1;
    casts.push_back(b);
  }
  return casts;
}

CastFactors casts_of_s(const Layers& l, const Plan& plan) {
  CastFactors casts;
  const int64_t rows = l.rows(), rank = plan.sites.rank();
  for (int i = 0; i < l.count(); ++i) {
    const LoraLayer& layer = l[i];
    const Slabs& slab = plan.slab[i];
    const int64_t r = rank_of(layer);
    CastFactor s;
    s.from = plan.sum + (l.half() ? 1 : rows) * plan.sites.begin(i) * int64_t(bytes_of(l.sums()));
    s.type = l.sums();
    s.count = rows, s.rank = r, s.from_i = l.half() ? rank : r, s.from_j = 1;
    s.pieces = plan.pieces, s.plane = rows * rank;
    s.factor = layer.dropout.active() ? layer.scale * layer.dropout.multiplier() : layer.scale;
    s.plain = layer.s.data, s.plain_type = layer.s.dtype, s.plain_i = r, s.plain_j = 1;
    s.slab = slab.s, s.form = l.left(), s.width = slab.width, s.slab_i = slab.pitch, s.slab_j = 1;
    share_lines(s, slab.pitch, slab.first);
    casts.push_back(s);
  }
  return casts;
}

// s of each, from passes over x, and the slabs: of all layers at once on tensor cores.
void project(const std::vector<const Layers*>& layers, const Plan* plans) {
  Thins thins;
  CastFactors plain;
  for (size_t k = 0; k < layers.size(); ++k) {
    const Layers& l = *layers[k];
    const Plan& plan = plans[k];
    const CastFactors casts = casts_of_s(l, plan), slabs = casts_of_b(l, plan);
    for (int i = 0; !l.half() && i < l.count(); ++i) {
      char* sum = plan.sum + l.rows() * plan.sites.begin(i) * int64_t(bytes_of(l.sums()));
      plain_down(sum, l.x, {l[i].a, 1, l.in()}, rank_of(l[i]), l[i].dropout);
    }
    if (!l.half()) {
      plain.insert(plain.end(), casts.begin(), casts.end());
      plain.insert(plain.end(), slabs.begin(), slabs.end());
      continue;
    }
    Thin thin;
    thin.z = l.x;
    thin.sites = plan.sites;
    thin.down.stride_c = 1, thin.down.stride_j = int32_t(l.in());
    for (int i = 0; i < l.count(); ++i) thin.down.add(l[i].a, rank_of(l[i]));
    thin.low = l.low();
    thin.down_sum = reinterpret_cast<float*>(plan.sum);
    thin.down_casts = casts;
    thin.casts = slabs;
    thins.push_back(thin);
  }
  down(thins);
  cast_factors(plain, layers[0]->product());
}

void multiply(gemm::Product& p, const View& x, const gemm::Operand& left, const View& w) {
  if (gemm::suits_quantized(x, w)) return gemm::multiply_quantized(p, x, w);
  p.segments = 1;
  Scratch right(Owner::Right);
  p.segment[0] = {x.cols(), left, gemm::operand_in(w, p.type, true, right)};
  gemm::multiply(p);
}

// All but the frozen part of layer i's.
gemm::Product product_of(const Layers& l, const Slabs& slab, int i) {
  gemm::Product p;
  p.type = l.product(), p.tf32 = l.compute == Compute::TF32;
  p.m = l.rows(), p.n = out_of(l[i]);
  p.slabs = 1;
  p.slab[0] = {slab.width, {slab.s, slab.pitch, true}, {slab.b, slab.pitch, true}, {}};
  p.bias = l[i].bias, p.y = l[i].y, p.activated = l[i].activated;
  if (l[i].turned) p.rope = l.rope;
  return p;
}

struct RowsPlan {
  RowsPlan(Workspace& workspace, const LoraRows& op, const std::vector<Layers>& groups) {
    const Layers& l = groups[0];
    const int64_t element = int64_t(bytes_of(l.product()));
    for (const Layers& own : groups) wide.width += slab_width(rank_of(own[0]), l.left());
    wide.left = workspace.take(op.x.rows() * wide.width * element);
    wide.right = workspace.take(op.y.cols() * wide.width * element);
    int64_t first = 0;
    size_t next = 0;
    for (const LoraRows::Group& own : op) {
      if (!own.a) continue;
      plans.emplace_back(workspace, groups[next++], &wide, own.begin, first);
      first += plans.back().slab[0].width;
    }
  }

  Wide wide;
  std::vector<Plan> plans;
};

}  // namespace

void forward(const Layers& l) {
  if (l.rows() == 0) return;
  Scratch workspace(Owner::Adapters), left(Owner::Left);
  const Plan plan = plan_in<Plan>(workspace, l);
  project({&l}, &plan);
  const gemm::Operand x = gemm::operand_in(l.x, l.product(), true, left);
  static_assert(MAX_ADAPTERS == 3);
  Scratch right[] = {Scratch(Owner::Right, 0), Scratch(Owner::Right, 1), Scratch(Owner::Right, 2)};
  std::vector<gemm::Product> together;
  for (int i = 0; i < l.count(); ++i) {
    gemm::Product p = product_of(l, plan.slab[i], i);
    if (gemm::suits_quantized(l.x, l[i].w)) {
      gemm::multiply_quantized(p, l.x, l[i].w);
      continue;
    }
    p.segments = 1;
    p.segment[0] = {l.in(), x, gemm::operand_in(l[i].w, p.type, true, right[i])};
    together.push_back(p);
  }
  if (!together.empty()) gemm::multiply(together);
}

void forward(const LoraRows& op) {
  const std::vector<Layers> groups = groups_of(op);
  if (groups.empty()) return linear(op.y, op.x, op.w, op.bias, op.compute, op.rope);
  Scratch workspace(Owner::Adapters), left(Owner::Left);
  const RowsPlan plan = plan_in<RowsPlan>(workspace, op, groups);
  const Layers& l = groups[0];
  std::vector<const Layers*> layers;
  for (const Layers& group : groups) layers.push_back(&group);
  if (has_plain_rows(op)) clear(plan.wide, op.x.rows(), l.product());
  project(layers, plan.plans.data());
  const int64_t width = plan.wide.width;
  gemm::Product p;
  p.type = l.product(), p.tf32 = op.compute == Compute::TF32;
  p.m = op.x.rows(), p.n = op.y.cols();
  p.slabs = 1;
  p.slab[0] = {width, {plan.wide.left, width, true}, {plan.wide.right, width, true}, {}};
  p.bias = op.bias, p.y = op.y, p.rope = op.rope;
  multiply(p, op.x, gemm::operand_in(op.x, p.type, true, left), op.w);
}

}  // namespace lowrank::cuda::lora
