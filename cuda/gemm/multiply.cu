// Which kernel computes a product.

#include "cuda/gemm/mma.cuh"

namespace lowrank::cuda::gemm {
namespace {

// Whether cp.async can carry 16 bytes: each line begins at a multiple.
bool is_fast(const Operand& o) { return reinterpret_cast<uintptr_t>(o.data) % 16 == 0 && o.leading % CHUNK == 0; }

struct Plan {
  Work work;
  bool fast = true, a_along_k = true, b_along_k = true;
};

void add_operands(Plan& plan, const Operand& a, const Operand& b) {
  if (plan.work.stretches + plan.work.masks == 0) plan.a_along_k = a.along_k, plan.b_along_k = b.along_k;
  check(a.along_k == plan.a_along_k && b.along_k == plan.b_along_k, Code::Unsupported,
        "product: operands along k and across k in one sum; lay them out alike");
  plan.fast = plan.fast && is_fast(a) && is_fast(b);
}

void add_stretch(Plan& plan, const Segment& segment) {
  if (segment.k == 0) return;
  add_operands(plan, segment.a, segment.b);
  const int64_t blocks = plan.work.blocks + ceil_div(segment.k, KB);
  check(blocks <= INT32_MAX, Code::Unsupported, "product: k of ", segment.k, " is too large");
  plan.work.blocks = int(blocks);
  plan.work.stretch[plan.work.stretches++] = segment;
}

// Slabs with a mask come first, those without after everything else.
Plan plan_of(const Product& p) {
  Plan plan;
  for (int i = 0; i < p.slabs; ++i)
    if (p.slab[i].r > 0 && p.slab[i].dropout.active()) {
      add_operands(plan, p.slab[i].a, p.slab[i].b);
      plan.work.mask[plan.work.masks++] = p.slab[i];
    }
  for (int i = 0; i < p.segments; ++i) add_stretch(plan, p.segment[i]);
  for (int i = 0; i < p.slabs; ++i)
    if (!p.slab[i].dropout.active()) add_stretch(plan, {p.slab[i].r, p.slab[i].a, p.slab[i].b});
  const bool wide = p.n % (16 / int64_t(bytes_of(p.y.dtype))) == 0 && aligned(p.y) && aligned(p.residual);
  plan.work.target = {p.m, p.n, p.bias, p.residual, p.y, wide};
  return plan;
}

}  // namespace

void multiply_mma(const Product& product) {
  const Plan plan = plan_of(product);
  const auto run = product.type == DType::F16 ? run_mma_f16 : run_mma_bf16;
  run(plan.work, plan.a_along_k, plan.b_along_k, plan.fast);
}

void multiply(const Product& product) {
  const bool tensor_cores = product.type == DType::BF16 || product.type == DType::F16;
  if (!tensor_cores) return multiply_simt(product);
  if (hopper() && can_use_hopper(product)) return multiply_hopper(product);
  multiply_mma(product);
}

}  // namespace lowrank::cuda::gemm
