// cuda/gemm/bend.cuh: an activation function of a product, or its slope, in the epilogue or after it.
#include "cuda/gemm/hopper.h"
#include "cuda/scratch.h"
#include "test/kernels/product.cuh"

namespace lowrank::testing {
namespace {

using namespace cuda::gemm;

void single(const Product& p) { multiply_hopper({p}, {HopperTile::Single}); }
void paired(const Product& p) { multiply_hopper({p}, {HopperTile::Paired}); }
void single_split(const Product& p) { multiply_hopper({p}, {HopperTile::Single, 2}); }
void paired_split(const Product& p) { multiply_hopper({p}, {HopperTile::Paired, 3}); }

using Kernel = void (*)(const Product&);

int64_t launches_of(const Product& p, Kernel kernel) {
  struct Call {
    const Product& product;
    Kernel kernel;
  } call = {p, kernel};
  const auto run = [](void* of) { static_cast<Call*>(of)->kernel(static_cast<Call*>(of)->product); };
  return int64_t(cuda::measure(0, run, &call).launches);
}

// f(y) beside the y that the product has alone, and then that y times f'(x). `fused`: neither takes another launch.
void expect_bent(Fuzz& fuzz, ProductChoice c, Kernel kernel, bool fused) {
  const auto kind = fuzz.pick({Activation::Gelu, Activation::GeluTanh});
  for (const bool slope : {false, true}) {
    c.b_along_k = !slope;
    RandomProduct p(fuzz, c);
    p.run(kernel);
    const std::unique_ptr<OnDevice> alone = std::move(p.y);
    const int64_t before = launches_of(p.product, kernel);
    const Values x = rounded(fuzz.values(c.m * c.n, 3), c.y), y = alone->read();
    const int64_t offset = c.aligned ? 0 : 1;
    OnDevice more(c.y, {c.m, c.n}, slope ? &x : nullptr, offset);
    (slope ? p.product.through : p.product.activated) = {more, kind};
    p.run(kernel);
    const std::string name = describe(c) + (slope ? ", times a slope" : ", activated");
    expect((launches_of(p.product, kernel) == before) == fused, name + ": launches");
    OnHost wanted({c.m, c.n}), of_y({c.m, c.n}, y), of_x({c.m, c.n}, x);
    if (slope) cpu::activation_backward(wanted, of_y, of_x, kind);
    else cpu::activation(wanted, of_y, kind);
    expect_accurate(name, (slope ? *p.y : more).read(), wanted.values(), c.y);
    if (!slope) expect_same_bits(name + ": y", *p.y, *alone);
  }
}

ProductChoice choice_of(Fuzz& fuzz, DType type, int64_t m, int64_t n) {
  ProductChoice c;
  c.type = c.y = type, c.m = m, c.n = n;
  c.segments = {fuzz.pick<int64_t>({40, 72, 136})};
  c.ranks = {fuzz.pick<int64_t>({8, 16})}, c.keeps = {fuzz.pick({256, 230})};
  c.bias = fuzz.pick({true, false}), c.residual = fuzz.pick({true, false});
  return c;
}

DType half(Fuzz& fuzz) { return fuzz.pick({DType::BF16, DType::F16}); }

}  // namespace

// Ragged rows, and columns that end within a tile, of both tilings.
KERNEL_CASE(bend_in_tiles) {
  for (const int64_t m : {fuzz.between(1, 63), fuzz.between(130, 200)})
    for (const int64_t n : {8 * fuzz.between(1, 8), 8 * fuzz.between(17, 20)})
      expect_bent(fuzz, choice_of(fuzz, half(fuzz), m, n), multiply_mma, true);
}

KERNEL_CASE(bend_in_tiles_of_hopper) {
  if (!cuda::hopper()) return;
  for (const Kernel kernel : {single, paired})
    for (const int64_t m : {fuzz.between(1, 63), fuzz.between(130, 300)})
      expect_bent(fuzz, choice_of(fuzz, half(fuzz), m, 8 * fuzz.between(1, 40)), kernel, true);
}

// More tiles than blocks: panels of y and of its values take turns from tile to tile.
KERNEL_CASE(bend_comes_round) {
  if (!cuda::hopper()) return;
  for (const Kernel kernel : {single, paired}) expect_bent(fuzz, choice_of(fuzz, half(fuzz), 200, 264), kernel, true);
}

// K in pieces: once, as they are added up.
KERNEL_CASE(bend_sums_of_pieces) {
  ProductChoice c = choice_of(fuzz, half(fuzz), fuzz.between(1, 30), 8 * fuzz.between(1, 7));
  c.segments = {1100}, c.keeps = {256};
  expect_bent(fuzz, c, multiply_mma, true);
  if (!cuda::hopper()) return;
  for (const Kernel kernel : {single_split, paired_split}) {
    ProductChoice split = choice_of(fuzz, half(fuzz), fuzz.between(1, 150), 8 * fuzz.between(1, 20));
    split.segments = {fuzz.between(128, 300)};
    expect_bent(fuzz, split, kernel, true);
  }
}

// What no epilogue takes: f32, f64, lines that are no packs, other functions.
KERNEL_CASE(bend_afterwards) {
  for (const DType type : {DType::F32, DType::F64})
    expect_bent(fuzz, choice_of(fuzz, type, fuzz.between(1, 80), fuzz.between(1, 80)), multiply_simt, false);
  const auto ragged = [&] { return choice_of(fuzz, half(fuzz), fuzz.between(1, 80), 8 * fuzz.between(1, 8) + 3); };
  expect_bent(fuzz, ragged(), multiply_mma, false);
  ProductChoice wide = choice_of(fuzz, half(fuzz), 40, 64);
  wide.y = DType::F32;
  expect_bent(fuzz, wide, multiply_mma, false);
  if (!cuda::hopper()) return;
  for (const Kernel kernel : {single, paired, paired_split}) expect_bent(fuzz, ragged(), kernel, false);
  expect_bent(fuzz, wide, single, false);
}

}  // namespace lowrank::testing
