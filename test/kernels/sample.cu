// sample: the tokens that the CPU draws
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

Values drawn_by_cpu(const Values& logits, int64_t rows, int64_t count, const Sampling& options) {
  std::vector<int32_t> memory(size_t(rows) + 1);
  const OnHost hlogits({rows, count}, logits), ids({rows}, Values(size_t(rows), 0.0));
  View view = ids;
  view.data = memory.data();
  view.dtype = DType::I32;
  cpu::sample(view, hlogits, options);
  return Values(memory.begin(), memory.begin() + rows);
}

Sampling any_options(Fuzz& fuzz) {
  Sampling options = {fuzz.pick({0.0, 0.5, 1.0, 3.0}),
                      fuzz.pick<int64_t>({0, 0, 1, 3, 40, 1000}),
                      fuzz.pick({0.01, 0.5, 0.9, 1.0}),
                      {}};
  options.random.seed = fuzz.bits();
  options.random.site = uint32_t(fuzz.bits());
  options.random.step = uint32_t(fuzz.bits());
  options.random.row_offset = fuzz.between(0, 1000);
  return options;
}

}  // namespace

KERNEL_CASE(sample_draws_what_the_cpu_draws) {
  for (const DType dtype : FLOATS)
    for (int round = 0; round < 2; ++round) {
      const int64_t rows = fuzz.pick<int64_t>({0, 1, 4}), count = fuzz.pick<int64_t>({1, 2, 33, 700, 1500});
      // Few distinct values have many ties.
      Values logits = fuzz.values(rows * count, fuzz.pick({0.5, 4.0, 40.0}));
      if (round)
        for (double& each : logits) each = std::round(each);
      logits = rounded(logits, dtype);
      const Sampling options = any_options(fuzz);
      const OnDevice ids(DType::I32, {rows}), dlogits(dtype, {rows, count}, logits, fuzz.pick<int64_t>({0, 1}));
      cuda::sample(ids, dlogits, options);
      expect_close("sample", ids.read(), drawn_by_cpu(logits, rows, count, options), 0);
    }
}

KERNEL_CASE(sample_of_extremes) {
  const Values logits = {NAN, -INFINITY, -INFINITY, NAN,       INFINITY, 1e30, INFINITY, -1e30,
                         0.0, -0.0,      0.0,       -INFINITY, NAN,      NAN,  NAN,      NAN};
  const Sampling options = any_options(fuzz);
  const OnDevice ids(DType::I32, {4}), dlogits(DType::F32, {4, 4}, logits);
  cuda::sample(ids, dlogits, options);
  expect_close("sample", ids.read(), drawn_by_cpu(logits, 4, 4, options), 0);
}

}  // namespace lowrank::testing
