// cuda/gemm: every kernel behind multiply(), over shapes, orientations, segments, slabs.
#include "test/kernels/product.cuh"

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
  const bool half = choice.type == DType::BF16 || choice.type == DType::F16;
  RandomProduct p(fuzz, choice);
  p.run(half ? multiply_mma : multiply_simt);
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
KERNEL_CASE(product_in_large_tiles) {
  for (const DType type : {DType::F32, fuzz.pick({DType::BF16, DType::F16})}) {
    ProductChoice c = random_choice(fuzz, type, ORIENTATIONS[fuzz.seed % 3]);
    c.m = fuzz.between(129, 280), c.n = fuzz.between(129, 280), c.aligned = true;
    expect_product(fuzz, c);
  }
}

}  // namespace lowrank::testing
