// The matrix product of Hopper, in both sizes of tiles: orientations, segments, slabs, edges, epilogue, determinism.
#include "cuda/gemm/hopper.h"
#include "cuda/tensor_map_cache.h"
#include "test/kernels/product.cuh"

namespace lowrank::testing {
namespace {

using cuda::gemm::can_use_hopper;
using cuda::gemm::HopperTile;
using cuda::gemm::multiply_hopper;
using cuda::gemm::Product;

void single(const Product& p) { multiply_hopper({p}, {HopperTile::Single}); }
void paired(const Product& p) { multiply_hopper({p}, {HopperTile::Paired}); }
void single_split(const Product& p) { multiply_hopper({p}, {HopperTile::Single, 3}); }
void paired_split(const Product& p) { multiply_hopper({p}, {HopperTile::Paired, 2}); }

ProductChoice choice_of(Fuzz& fuzz, int64_t m, int64_t n, std::vector<int64_t> segments) {
  ProductChoice c;
  c.type = fuzz.pick({DType::BF16, DType::F16});
  c.y = fuzz.pick({c.type, DType::F32});
  c.m = m, c.n = n, c.segments = std::move(segments);
  return c;
}

void expect_product(Fuzz& fuzz, const ProductChoice& choice) {
  RandomProduct p(fuzz, choice);
  expect(can_use_hopper(p.product), "TMA takes " + describe(choice));
  p.run(single);
  p.expect_right("single tiles");
  p.run(paired);
  p.expect_right("paired tiles");
}

}  // namespace

KERNEL_CASE(hopper_orientations) {
  if (!cuda::hopper()) return;
  for (const auto& [a, b] : {std::pair(true, true), std::pair(true, false), std::pair(false, false)}) {
    ProductChoice c = choice_of(fuzz, 130, 264, {136});
    c.a_along_k = a, c.b_along_k = b;
    expect_product(fuzz, c);
  }
}

KERNEL_CASE(hopper_edges) {
  if (!cuda::hopper()) return;
  expect_product(fuzz, choice_of(fuzz, 1, 1, {1}));
  expect_product(fuzz, choice_of(fuzz, 64, 64, {64}));
  ProductChoice c = choice_of(fuzz, fuzz.between(1, 200), fuzz.between(1, 300), {fuzz.between(1, 200)});
  c.a_along_k = fuzz.pick({true, false}), c.b_along_k = c.a_along_k && fuzz.pick({true, false});
  expect_product(fuzz, c);
}

// Layers on one input in one launch, each with its own n, slab, bias and type of y.
KERNEL_CASE(hopper_products_together) {
  if (!cuda::hopper()) return;
  const int64_t m = fuzz.between(1, 300), k = fuzz.pick<int64_t>({72, 136});
  const DType type = fuzz.pick({DType::BF16, DType::F16});
  for (const HopperTile tile : {HopperTile::Single, HopperTile::Paired}) {
    std::vector<std::unique_ptr<RandomProduct>> all;
    std::vector<Product> products;
    for (int i = 0; i < 3; ++i) {
      ProductChoice c = choice_of(fuzz, m, fuzz.between(1, 400), {k});
      c.type = type, c.y = fuzz.pick({type, DType::F32});
      c.ranks = {fuzz.pick<int64_t>({8, 72})}, c.keeps = {256}, c.bias = fuzz.pick({false, true});
      all.push_back(std::make_unique<RandomProduct>(fuzz, c));
      all.back()->run([](const Product&) {});  // y alone
      products.push_back(all.back()->product);
    }
    multiply_hopper(products, {tile});
    for (const auto& each : all) each->expect_right("a product beside others");
  }
}

// A panel that is copied, of a y whose lines begin anywhere, comes between panels that TMA may still read.
KERNEL_CASE(hopper_panels_sent_and_copied) {
  if (!cuda::hopper()) return;
  for (const HopperTile tile : {HopperTile::Single, HopperTile::Paired}) {
    std::vector<std::unique_ptr<RandomProduct>> all;
    std::vector<Product> products;
    for (const int64_t n : {392, 67, 264}) {
      ProductChoice c = choice_of(fuzz, 142, n, {72});
      c.type = DType::BF16, c.y = fuzz.pick({DType::BF16, DType::F32, DType::F32});
      all.push_back(std::make_unique<RandomProduct>(fuzz, c));
      all.back()->run([](const Product&) {});  // y alone
      products.push_back(all.back()->product);
    }
    multiply_hopper(products, {tile});
    for (const auto& each : all) each->expect_right("panels sent and copied");
  }
}

// The same product again finds its tensor maps, another one does not.
KERNEL_CASE(hopper_maps_are_made_once) {
  if (!cuda::hopper()) return;
  RandomProduct p(fuzz, choice_of(fuzz, 40, 72, {64}));
  multiply_hopper({p.product}, {HopperTile::Single});
  const int64_t first = cuda::tensor_maps_made();
  multiply_hopper({p.product}, {HopperTile::Single});
  expect(cuda::tensor_maps_made() == first, "maps of the same operands are not made again");
  Product narrower = p.product;
  narrower.m = 39;
  multiply_hopper({narrower}, {HopperTile::Single});
  expect(cuda::tensor_maps_made() > first, "other bounds are another map");
}

// More tiles than blocks: the ring, its parities and the panels of y go on from tile to tile.
KERNEL_CASE(hopper_comes_round) {
  if (!cuda::hopper()) return;
  ProductChoice c = choice_of(fuzz, 300, 520, {200});
  c.b_along_k = fuzz.pick({true, false});
  c.ranks = {fuzz.pick<int64_t>({8, 72})}, c.keeps = {230}, c.bias = true;
  expect_product(fuzz, c);
}

KERNEL_CASE(hopper_segments) {
  if (!cuda::hopper()) return;
  ProductChoice c = choice_of(fuzz, 70, 136, {fuzz.between(1, 63), 128, fuzz.between(65, 140)});
  c.b_along_k = fuzz.pick({true, false});
  expect_product(fuzz, c);
}

KERNEL_CASE(hopper_slabs) {
  if (!cuda::hopper()) return;
  for (const int64_t r : {1, 3, 8, 16, 40, 64, 130}) {
    ProductChoice c = choice_of(fuzz, 140, 72, {fuzz.pick<int64_t>({8, 64, 100})});
    c.b_along_k = fuzz.pick({true, false});
    c.ranks = {r}, c.keeps = {fuzz.pick({256, 230, 128})};
    expect_product(fuzz, c);
  }
  ProductChoice c = choice_of(fuzz, 100, 136, {64, 70, 8});
  c.b_along_k = false, c.ranks = {16, 100, 3}, c.keeps = {fuzz.pick({256, 200}), 128, 230};
  expect_product(fuzz, c);
}

KERNEL_CASE(hopper_epilogue) {
  if (!cuda::hopper()) return;
  for (const int64_t n : {131, 136, 260}) {
    ProductChoice c = choice_of(fuzz, fuzz.between(60, 140), n, {fuzz.pick<int64_t>({16, 64})});
    c.bias = fuzz.pick({true, true, false}), c.bias_f32 = fuzz.pick({true, false});
    c.residual = fuzz.pick({true, true, false});
    expect_product(fuzz, c);
  }
}

// Heads whose pairs are in one thread's registers, in tiles that hold them; all others are turned after. Splits are
// turned as they are added up.
KERNEL_CASE(hopper_turns) {
  if (!cuda::hopper()) return;
  for (const int64_t head_dim : {64, 128, 256, 80}) {
    ProductChoice c = choice_of(fuzz, fuzz.between(60, 280), 0, {fuzz.pick<int64_t>({8, 64, 100})});
    c.head_dim = c.rotary = head_dim, c.n = head_dim * fuzz.between(1, 320 / head_dim);
    c.bias = fuzz.pick({true, false}), c.bias_f32 = fuzz.pick({true, false});
    c.ranks = {8}, c.keeps = {256};
    RandomProduct p(fuzz, c);
    p.choice.turned_rounded = head_dim == 80 || head_dim == 256;
    p.run(single);
    p.expect_right("turned single tiles");
    p.choice.turned_rounded = head_dim == 80;
    p.run(paired);
    p.expect_right("turned paired tiles");
  }
}

KERNEL_CASE(hopper_turns_otherwise) {
  if (!cuda::hopper()) return;
  for (const bool interleaved : {false, true}) {
    ProductChoice c = choice_of(fuzz, fuzz.between(60, 140), 128, {fuzz.pick<int64_t>({70, 136})});
    c.head_dim = fuzz.pick<int64_t>({64, 128}), c.interleaved = interleaved, c.table_f32 = fuzz.pick({true, false});
    c.rotary = interleaved && c.table_f32 ? c.head_dim : 16;
    c.bias = fuzz.pick({true, false});
    RandomProduct p(fuzz, c);
    for (const auto run : {single_split, paired_split}) {
      p.run(run);
      p.expect_right("turned sums of splits");
    }
    p.choice.turned_rounded = true;
    for (const auto run : {single, paired}) {
      p.run(run);
      p.expect_right("turned after");
    }
  }
}

// Stretches of K apart from each other, among them empty ones; slabs, tails and the epilogue happen once.
KERNEL_CASE(hopper_splits) {
  if (!cuda::hopper()) return;
  for (const int64_t k : {60, 100, 340}) {
    ProductChoice c = choice_of(fuzz, fuzz.between(60, 260), fuzz.pick<int64_t>({131, 136}), {70, k});
    c.a_along_k = fuzz.pick({true, false}), c.b_along_k = false;
    c.ranks = {8, 16}, c.keeps = {230, 256};
    c.bias = fuzz.pick({true, false}), c.bias_f32 = fuzz.pick({true, false}), c.residual = fuzz.pick({true, false});
    RandomProduct p(fuzz, c);
    p.run(single_split);
    p.expect_right("split single tiles");
    p.run(paired_split);
    p.expect_right("split paired tiles");
  }
}

// Nothing to add up but bias and residual; and nothing at all.
KERNEL_CASE(hopper_without_k) {
  if (!cuda::hopper()) return;
  ProductChoice c = choice_of(fuzz, 20, 40, {0});
  c.bias = c.residual = true;
  expect_product(fuzz, c);
  expect_product(fuzz, choice_of(fuzz, 0, 40, {16}));
  expect_product(fuzz, choice_of(fuzz, 20, 0, {16}));
}

// The same elements are dropped as by the portable kernel, whatever their values.
KERNEL_CASE(hopper_masks) {
  if (!cuda::hopper()) return;
  ProductChoice c = choice_of(fuzz, 150, 270, {});
  c.y = DType::F32, c.ranks = {1}, c.keeps = {fuzz.pick({20, 128, 250})};
  RandomProduct p(fuzz, c);
  p.run(cuda::gemm::multiply_mma);
  const Values portable = p.y->read();
  for (const auto run : {single, paired}) {
    p.run(run);
    const Values got = p.y->read();
    for (size_t i = 0; i < got.size(); ++i) expect((got[i] == 0) == (portable[i] == 0), "the mask of Hopper differs");
  }
}

KERNEL_CASE(hopper_repeats_its_bits) {
  if (!cuda::hopper()) return;
  ProductChoice c = choice_of(fuzz, 260, 300, {100, 64});
  c.ranks = {16, 16}, c.keeps = {230, 256};
  RandomProduct p(fuzz, c);
  for (const auto run : {single, paired, single_split}) {
    p.run(run);
    const std::unique_ptr<OnDevice> first = std::move(p.y);
    p.run(run);
    expect_same_bits("a second run", *p.y, *first);
  }
}

KERNEL_CASE(hopper_leaves_to_others) {
  ProductChoice c = choice_of(fuzz, 20, 40, {16});
  RandomProduct p(fuzz, c);
  expect(can_use_hopper(p.product), "an aligned product suits TMA");
  const auto refused = [&](auto change) {
    Product other = p.product;
    change(other);
    expect(!can_use_hopper(other), "what TMA cannot load is left to others");
  };
  refused([](Product& o) { o.type = DType::F32; });
  refused([](Product& o) { o.segment[0].a.data = static_cast<const char*>(o.segment[0].a.data) + 2; });
  refused([](Product& o) { o.segment[0].b.leading += 4; });
  refused([](Product& o) { o.segment[0].a.along_k = false; });
  refused([](Product& o) { o.m = int64_t(1) << 31; });
  refused([](Product& o) { o.segment[0].k = int64_t(1) << 31; });
}

}  // namespace lowrank::testing
