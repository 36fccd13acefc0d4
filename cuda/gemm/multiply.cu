// Which kernel computes a product, and the sum of pieces of K.

#include <algorithm>

#include "cuda/gemm/mma.cuh"
#include "cuda/gemm/pieces.cuh"
#include "cuda/gemm/rope.cuh"

namespace lowrank::cuda::gemm {
namespace {

// Whether cp.async can carry 16 bytes: each line begins at a multiple.
bool is_fast(const Operand& o, int64_t width) {
  return reinterpret_cast<uintptr_t>(o.data) % 16 == 0 && o.leading * width % 16 == 0;
}

struct Plan {
  Work work;
  DType type = DType::BF16;
  bool fast = true, a_along_k = true, b_along_k = true;
};

void add_stretch(Plan& plan, const Segment& s) {
  Work& work = plan.work;
  const int64_t width = int64_t(bytes_of(plan.type));
  if (work.stretches == 0) plan.a_along_k = s.a.along_k, plan.b_along_k = s.b.along_k;
  check(s.a.along_k == plan.a_along_k && s.b.along_k == plan.b_along_k, Code::Unsupported,
        "product: operands along k and across k in one sum; lay them out alike");
  plan.fast = plan.fast && is_fast(s.a, width) && is_fast(s.b, width);
  work.stretch[work.stretches++] = s;
}

void add_unmasked(Plan& plan, const Segment& s) {
  if (s.k == 0) return;
  check(s.k < INT32_MAX / MAX_SEGMENTS, Code::Unsupported, "product: k of ", s.k, " is too large");
  plan.work.k_tiles += int(ceil_div(s.k, 64 / int64_t(bytes_of(plan.type))));
  add_stretch(plan, s);
}

Plan plan_of(const Product& p) {
  Plan plan;
  plan.type = p.type;
  for (int i = 0; i < p.slabs; ++i) {
    const Slab& slab = p.slab[i];
    if (slab.r == 0 || !slab.dropout.active()) continue;
    plan.work.dropout[plan.work.masks++] = slab.dropout;
    add_stretch(plan, {slab.r, slab.a, slab.b});
  }
  for (int i = 0; i < p.segments; ++i) add_unmasked(plan, p.segment[i]);
  for (int i = 0; i < p.slabs; ++i)
    if (!p.slab[i].dropout.active()) add_unmasked(plan, {p.slab[i].r, p.slab[i].a, p.slab[i].b});
  const bool wide = p.n % (16 / int64_t(bytes_of(p.y.dtype))) == 0 && aligned(p.y) && aligned(p.residual);
  plan.work.target = {p.m, p.n, p.bias, p.residual, p.y, wide, curve_of(p)};
  return plan;
}

// Products of fewer tiles than multiprocessors are cut along K, at 16 tiles of K or more a piece; on one device always
// alike.
int pieces_of(const Works& works) {
  const int64_t tiles = tiles_of<SmallTiling>(works), processors = properties().multiprocessors;
  const Work& first = works.list[0];
  if (first.masks || tiles == 0 || tiles >= processors) return 1;
  return int(std::max<int64_t>(1, std::min<int64_t>({first.k_tiles / 16, 2 * processors / tiles, 32})));
}

void run(const Works& works, const Plan& plan) {
  const auto kernel = plan.type == DType::F32 ? run_mma_tf32 : plan.type == DType::F16 ? run_mma_f16 : run_mma_bf16;
  kernel(works, plan.a_along_k, plan.b_along_k, plan.fast);
}
void run(const Plan& plan) { run({1, {plan.work}}, plan); }

// What no epilogue has done.
void finish(const Product& p) {
  if (p.rope) rotate_rounded(p);
  if (!curve_of(p)) bend_rounded(p);
}

// K in one piece.
void run_whole(const Plan& plan, const Product& p) {
  run(plan);
  finish(p);
}

// All at once, where K is not cut and one kernel takes all; else nothing is done.
bool multiply_together(const std::vector<Product>& products) {
  Works works;
  Plan all;
  for (const Product& p : products) {
    const Plan plan = plan_of(p);
    if (works.count == 0) all = plan;
    if (plan.fast != all.fast || plan.b_along_k != all.b_along_k || plan.type != all.type) return false;
    works.list[works.count++] = plan.work;
  }
  if (pieces_of(works) > 1) return false;
  run(works, all);
  for (const Product& p : products) finish(p);
  return true;
}

}  // namespace

void multiply_mma(const Product& product) {
  Plan plan = plan_of(product);
  plan.work.pieces = pieces_of({1, {plan.work}});
  if (plan.work.pieces == 1) return run_whole(plan, product);
  const Target target = plan.work.target;
  Scratch sums(Owner::Pieces);
  View partial;
  partial.data = sums.take<float>(plan.work.pieces * target.m * target.n);
  plan.work.target = {target.m, target.n, {}, {}, partial, target.n % PACK<float> == 0, {}};
  run(plan);
  if (adds_rotated(product.rope)) return add_rotated(product, partial.as<float>(), plan.work.pieces, target.n);
  const Pieces pieces = {partial.as<float>(), plan.work.pieces, target.m, target.n,    target.n,
                         target.bias,         target.residual,  target.y, target.curve};
  const DType type = target.y.dtype == DType::F32 ? plan.type : target.y.dtype;
  if (type == DType::F32) launch_pieces<float>(pieces);
  else if (type == DType::F16) launch_pieces<__half>(pieces);
  else launch_pieces<__nv_bfloat16>(pieces);
  finish(product);
}

void multiply(const Product& product) { multiply(std::vector<Product>{product}); }

void multiply(const std::vector<Product>& products) {
  const Product& first = products[0];
  check(!first.rope || !first.residual, Code::Unsupported, "product: a residual beside rope; add it afterwards");
  for (const Product& p : products)
    check(bool(p.rope) + bool(p.activated) + bool(p.through) < 2, Code::Unsupported,
          "product: rope, an activation function or its slope, expected one of them");
  const bool half = first.type == DType::BF16 || first.type == DType::F16;
  const bool tensor_cores = half || (first.tf32 && first.type == DType::F32);
  if (tensor_cores && hopper() && std::all_of(products.begin(), products.end(), can_use_hopper))
    return multiply_hopper(products);
  if (tensor_cores && products.size() > 1 && multiply_together(products)) return;
  for (const Product& each : products) tensor_cores ? multiply_mma(each) : multiply_simt(each);
}

}  // namespace lowrank::cuda::gemm
