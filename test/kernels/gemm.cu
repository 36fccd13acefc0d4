// cuda/gemm: every kernel behind multiply(), over shapes, orientations, segments, slabs.
#include "test/kernels/product.cuh"
#ifdef LOWRANK_EMULATOR
#include "test/emulator/emulator.h"
#endif

namespace lowrank::testing {
namespace {

using cuda::gemm::multiply_mma;
using cuda::gemm::multiply_simt;

constexpr DType SIMT[] = {DType::F32, DType::F64}, HALVES[] = {DType::BF16, DType::F16};

// The first pairs are what tensor cores take; f32 and f64 take all.
struct Orientation {
  bool a_along_k, b_along_k;
};
constexpr Orientation ORIENTATIONS[] = {{true, true}, {true, false}, {false, false}, {false, true}};

ProductChoice random_choice(Fuzz& fuzz, DType type, Orientation orientation) {
  ProductChoice c;
  c.type = type;
  c.y = type == DType::BF16 || type == DType::F16 ? fuzz.pick({type, DType::F32}) : type;
  c.a_along_k = orientation.a_along_k, c.b_along_k = orientation.b_along_k;
  c.m = fuzz.between(1, 150), c.n = fuzz.between(1, 150);
  for (int64_t i = fuzz.pick({1, 1, 2, 3}); i > 0; --i) c.segments.push_back(fuzz.between(1, 120));
  for (int64_t i = fuzz.between(0, 3); i > 0; --i) {
    c.ranks.push_back(fuzz.pick<int64_t>({1, 3, 4, 8, 12, 16, 64}));
    c.keeps.push_back(fuzz.pick({256, 230, 128}));
  }
  c.bias = fuzz.pick({false, true}), c.bias_f32 = fuzz.pick({false, true});
  c.residual = fuzz.pick({false, true});
  c.aligned = fuzz.pick({true, true, false});
  return c;
}

void expect_product(Fuzz& fuzz, const ProductChoice& choice) {
  const bool tensor_cores = choice.type == DType::BF16 || choice.type == DType::F16 || choice.tf32;
  RandomProduct p(fuzz, choice);
  p.run(tensor_cores ? multiply_mma : multiply_simt);
  p.expect_right("product");
}

}  // namespace

KERNEL_CASE(product_of_any_shape_f32_f64) {
  for (const DType type : SIMT)
    for (const Orientation o : ORIENTATIONS) expect_product(fuzz, random_choice(fuzz, type, o));
}

KERNEL_CASE(product_of_any_shape_tensor_cores) {
  for (const DType type : HALVES)
    for (int i = 0; i < 3; ++i) expect_product(fuzz, random_choice(fuzz, type, ORIENTATIONS[i]));
}

// Enough tiles for the large ones.
KERNEL_CASE(product_in_tf32) {
  for (int i = 0; i < 3; ++i) {
    ProductChoice c = random_choice(fuzz, DType::F32, ORIENTATIONS[i]);
    c.tf32 = true;
    if (fuzz.seed % 3 == uint64_t(i)) c.m = fuzz.between(129, 200), c.n = fuzz.between(129, 200), c.aligned = true;
    expect_product(fuzz, c);
  }
}

KERNEL_CASE(product_in_large_tiles) {
  for (const DType type : {DType::F32, fuzz.pick({DType::BF16, DType::F16})}) {
    ProductChoice c = random_choice(fuzz, type, ORIENTATIONS[fuzz.seed % 3]);
    c.m = fuzz.between(129, 280), c.n = fuzz.between(129, 280), c.aligned = true;
    expect_product(fuzz, c);
  }
}

// Heads of any size: within tiles, across them, odd ones; with columns that stay.
ProductChoice turned_choice(Fuzz& fuzz, DType type, int64_t head_dim, int64_t heads) {
  ProductChoice c = random_choice(fuzz, type, {true, true});
  c.residual = false;
  c.head_dim = head_dim, c.n = heads * head_dim;
  c.rotary = fuzz.pick({true, false}) ? head_dim / 2 * 2 : head_dim / 4 * 2;
  c.interleaved = fuzz.pick({true, false}), c.table_f32 = fuzz.pick({true, false});
  c.turned_rounded = true;
  return c;
}

KERNEL_CASE(product_turned_f32_f64) {
  for (const DType type : SIMT) {
    expect_product(fuzz, turned_choice(fuzz, type, fuzz.pick<int64_t>({4, 16, 64}), fuzz.between(1, 3)));
    expect_product(fuzz, turned_choice(fuzz, type, fuzz.pick<int64_t>({5, 24, 80}), fuzz.between(1, 3)));
  }
  ProductChoice c = turned_choice(fuzz, DType::F32, fuzz.pick<int64_t>({64, 128}), 2);
  c.m = fuzz.between(129, 160), c.n = 2 * 128, c.aligned = true;  // large tiles
  expect_product(fuzz, c);
}

KERNEL_CASE(product_turned_tensor_cores) {
  for (const DType type : HALVES)
    for (const int64_t head_dim : {fuzz.pick<int64_t>({4, 16}), fuzz.pick<int64_t>({64, 128}), int64_t(40), int64_t(5)})
      expect_product(fuzz, turned_choice(fuzz, type, head_dim, fuzz.between(1, 160 / head_dim)));
  ProductChoice c = turned_choice(fuzz, DType::F32, 32, 3);
  c.tf32 = true;
  expect_product(fuzz, c);
}

// As good as one rounding, where K is cut into pieces.
KERNEL_CASE(product_turned_before_it_is_rounded) {
  ProductChoice c = turned_choice(fuzz, DType::BF16, fuzz.pick<int64_t>({6, 20}), 1);
  c.turned_rounded = false, c.y = c.type, c.m = 5;
  c.segments = {fuzz.between(1100, 1500)};
  for (int32_t& keep : c.keeps) keep = 256;  // masked slabs keep K whole
  expect_product(fuzz, c);
}

// What the emulator counts of ldmatrix: no bank conflicts, whatever the orientation and tile.
KERNEL_CASE(product_without_bank_conflicts) {
#ifdef LOWRANK_EMULATOR
  for (int i = 0; i < 3; ++i)
    for (const int64_t size : {70, 140}) {
      ProductChoice c;
      c.type = fuzz.pick({DType::BF16, DType::F32}), c.y = DType::F32, c.tf32 = c.type == DType::F32;
      c.a_along_k = ORIENTATIONS[i].a_along_k, c.b_along_k = ORIENTATIONS[i].b_along_k;
      c.m = c.n = size, c.segments = {70}, c.ranks = {16}, c.keeps = {200};
      if (i == 0) c.head_dim = c.rotary = size / 2;
      RandomProduct p(fuzz, c);
      const auto before = emulator::counters;
      p.run(multiply_mma);
      p.y->read();
      const bool by_ldmatrix = c.type == DType::BF16 || c.a_along_k || c.b_along_k;
      expect(!by_ldmatrix || emulator::counters.ldmatrix > before.ldmatrix, "the product reads by ldmatrix");
      expect(emulator::counters.conflicts == before.conflicts, "bank conflicts: " + describe(c));
    }
#endif
}

KERNEL_CASE(product_with_long_k) {  // in pieces
  ProductChoice c;
  c.type = fuzz.pick({DType::BF16, DType::F16});
  c.y = fuzz.pick({c.type, DType::F32});
  c.a_along_k = c.b_along_k = fuzz.pick({false, true});
  c.m = fuzz.between(1, 20), c.n = fuzz.between(1, 20);
  c.segments = {fuzz.between(1100, 1500), fuzz.between(1, 600)};
  c.ranks = {8}, c.keeps = {256}, c.bias = c.residual = true;
  c.aligned = fuzz.pick({false, true});
  RandomProduct p(fuzz, c);
  p.run(multiply_mma);
  p.expect_right("product in pieces");
  const auto first = p.y->bytes();
  p.run(multiply_mma);
  expect(first == p.y->bytes(), "product in pieces: the same bits every time");
}

// A slab whose b is 0 changes no bit, and neither does running again.
KERNEL_CASE(product_with_slab_of_zeros) {
  for (const DType type : {DType::F32, fuzz.pick({DType::BF16, DType::F16})}) {
    const auto kernel = type == DType::F32 ? multiply_simt : multiply_mma;
    ProductChoice c = random_choice(fuzz, type, ORIENTATIONS[fuzz.seed % 3]);
    c.ranks.clear(), c.keeps.clear();
    RandomProduct p(fuzz, c);
    p.run(kernel);
    const auto base = p.y->bytes();
    const int64_t r = fuzz.pick<int64_t>({3, 8, 40});
    const Matrix a(fuzz, type, c.m, r, c.a_along_k, c.a_along_k ? 40 : c.m);
    const OnDevice zeros(type, {c.n * 40}, Values(size_t(c.n * 40), 0.0));
    for (const int32_t keep : {256, 200}) {
      p.product.slabs = 1;
      p.product.slab[0] = {r, a.operand(), {zeros.view().data, c.b_along_k ? 40 : c.n, c.b_along_k}, {}};
      p.product.slab[0].dropout.keep = keep;
      p.run(kernel);
      expect(base == p.y->bytes(), "a slab of zeros changes bits: " + describe(c));
    }
  }
}

KERNEL_CASE(product_of_nothing) {
  for (const DType type : {DType::F32, DType::F64, DType::BF16, DType::F16}) {
    const auto kernel = type == DType::F32 || type == DType::F64 ? multiply_simt : multiply_mma;
    for (const auto& [m, n] : {std::pair<int64_t, int64_t>{0, 5}, {5, 0}, {3, 7}}) {
      ProductChoice c;
      c.type = c.y = type, c.m = m, c.n = n, c.segments = {0}, c.ranks = {0}, c.keeps = {100};
      RandomProduct p(fuzz, c);
      p.run(kernel);
      p.expect_right("k 0");
      c.segments.clear(), c.ranks.clear(), c.keeps.clear(), c.bias = c.residual = true;
      RandomProduct alone(fuzz, c);
      alone.run(kernel);
      alone.expect_right("bias and residual alone");
    }
  }
}

}  // namespace lowrank::testing
