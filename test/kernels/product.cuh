#pragma once
// Random matrix products: what cuda/gemm/product.h asks for, on the device, beside a plain loop in f64 and one in the
// precision of the kernels.
#include <memory>

#include "cpu/philox.h"
#include "cuda/gemm/product.h"
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {

// A matrix of `mn` rows along `k`, in memory as asked for.
struct Matrix {
  Matrix(Random& random, DType dtype, int64_t mn, int64_t k, bool along_k, int64_t leading, int64_t offset = 0);
  double operator()(int64_t row, int64_t at) const {
    return values[size_t(along_k ? row * leading + at : at * leading + row)];
  }
  cuda::gemm::Operand operand() const { return {device->view().data, leading, along_k}; }

  int64_t mn, k, leading;
  bool along_k;
  Values values;
  std::unique_ptr<OnDevice> device;
};

// How a random product is to look.
struct ProductChoice {
  DType type = DType::F32, y = DType::F32;
  bool tf32 = false;
  bool a_along_k = true, b_along_k = true;
  int64_t m = 1, n = 1;
  std::vector<int64_t> segments;
  std::vector<int64_t> ranks;  // of slabs
  std::vector<int32_t> keeps;  // of slabs
  bool bias = false, residual = false;
  bool bias_f32 = true;
  // Rope: none with a head_dim of 0.
  int64_t head_dim = 0, rotary = 0;
  bool interleaved = false, table_f32 = true;
  bool turned_rounded = false;  // plain() rounds before it turns, as products do whose tiles can't
  bool aligned = true;          // lines of 8 elements, first elements at multiples of 16 bytes
};

struct RandomProduct {
  RandomProduct(Random& random, const ProductChoice& choice);
  // The product into `y`, a tensor of its own; NaN before.
  void run(void (*kernel)(const cuda::gemm::Product&));
  // Compares what run() wrote: f32 and f64 by tolerance, half precision by the 2x rule.
  void expect_right(const std::string& what) const;
  Values expected() const;  // in f64
  Values plain() const;     // in f32, or f64 for f64

  ProductChoice choice;
  cuda::gemm::Product product;
  std::vector<std::pair<Matrix, Matrix>> segments, slabs;
  Values bias, residual, positions, table;
  std::unique_ptr<OnDevice> bias_device, residual_device, positions_device, table_device, y;

 private:
  void add_rope(Random& random);
  template <typename A>
  void turn(Values& rows, bool of_magnitudes) const;
  template <typename A>
  Values computed(bool of_magnitudes, bool rounded_first = false) const;
};

std::string describe(const ProductChoice& choice);

}  // namespace lowrank::testing
