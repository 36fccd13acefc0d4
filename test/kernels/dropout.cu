// dropout: the CPU's mask, bit for bit
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {

KERNEL_CASE(dropout_has_the_mask_of_the_cpu) {
  for (const DType dtype : FLOATS) {
    const int64_t rows = fuzz.pick<int64_t>({0, 1, 3, 17}), offset = fuzz.pick<int64_t>({0, 0, 1});
    const int64_t cols = fuzz.pick<int64_t>({1, 6, 64, 96, 131, 200});
    Dropout dropout;
    dropout.keep = fuzz.pick({1, 128, 230, 255, 256});
    dropout.site = uint32_t(fuzz.bits());
    dropout.step = uint32_t(fuzz.bits());
    dropout.seed = fuzz.bits();
    dropout.row_offset = fuzz.pick<int64_t>({0, 5, 4000000000});
    const Values x = rounded(fuzz.values(rows * cols), dtype);
    OnHost y({rows, cols}), hx({rows, cols}, x);
    cpu::dropout(y, hx, dropout);
    OnDevice dy(dtype, {rows, cols}, nullptr, offset), dx(dtype, {rows, cols}, x, offset);
    cuda::dropout(dy, dx, dropout);
    const Values got = dy.read();
    expect_accurate("dropout", got, y.values(), dtype);
    for (size_t i = 0; i < got.size(); ++i)
      expect((got[i] == 0) == (y.values()[i] == 0), "dropout: mask differs at " + std::to_string(i));
  }
}

KERNEL_CASE(dropout_ignores_what_it_drops) {
  const Values x(512, NAN);
  Dropout dropout;
  dropout.keep = 100;
  OnHost y({2, 256}), hx({2, 256}, x);
  cpu::dropout(y, hx, dropout);
  OnDevice dy(DType::BF16, {2, 256}), dx(DType::BF16, {2, 256}, x);
  cuda::dropout(dy, dx, dropout);
  expect_same_kinds("dropout of NaN", dy.read(), y.values());
}

}  // namespace lowrank::testing
