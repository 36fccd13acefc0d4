// embedding, embedding_backward
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

// Few ids often, many ids rarely, or one id alone.
std::vector<int32_t> any_ids(Fuzz& fuzz, int64_t n, int64_t vocabulary) {
  const int kind = fuzz.pick({0, 1, 2});
  const auto one = int32_t(fuzz.between(0, vocabulary - 1));
  std::vector<int32_t> ids(size_t(n), 0);
  for (int32_t& id : ids) {
    const double u = fuzz.uniform();
    id = kind == 0 ? one : kind == 1 ? int32_t(u * u * u * double(vocabulary)) : int32_t(u * double(vocabulary));
  }
  return ids;
}

Values as_values(const std::vector<int32_t>& ids) { return Values(ids.begin(), ids.end()); }

}  // namespace

KERNEL_CASE(embedding_of_any_types) {
  for (const DType dtype : FLOATS)
    for (const DType stored : FLOATS) {
      if ((dtype == DType::F64) != (stored == DType::F64)) continue;
      const int64_t n = fuzz.pick<int64_t>({0, 1, 20}), cols = fuzz.pick<int64_t>({1, 5, 8, 48}), vocabulary = 30;
      const Values table = rounded(fuzz.values(vocabulary * cols), stored);
      const auto ids = any_ids(fuzz, n, vocabulary);
      OnHost y({n, cols}), htable({vocabulary, cols}, table), hids({n}, ids);
      cpu::embedding(y, htable, hids);
      OnDevice dy(dtype, {n, cols}), dtable(stored, {vocabulary, cols}, table, fuzz.pick<int64_t>({0, 0, 1})),
          dids(DType::I32, {n}, as_values(ids));
      cuda::embedding(dy, dtable, dids);
      expect_close("embedding", dy.read(), rounded(y.values(), dtype), 0);
    }
}

KERNEL_CASE(embedding_backward_of_any_types) {
  for (const DType dtype : FLOATS)
    for (const bool wide : {false, true}) {
      if (wide && dtype == DType::F64) continue;
      const DType grad = wide ? DType::F32 : dtype;
      const int64_t n = fuzz.pick<int64_t>({0, 1, 64, 65, 256, 257, 400}), cols = fuzz.pick<int64_t>({1, 5, 8, 40});
      const int64_t vocabulary = fuzz.pick<int64_t>({1, 2, 70, 300});
      const Values dy = rounded(fuzz.values(n * cols), dtype);
      const auto ids = any_ids(fuzz, n, vocabulary);
      OnHost dtable({vocabulary, cols}), hdy({n, cols}, dy), hids({n}, ids);
      cpu::embedding_backward(dtable, hdy, hids);
      OnDevice got(grad, {vocabulary, cols}, nullptr, fuzz.pick<int64_t>({0, 0, 1})), again(grad, {vocabulary, cols}),
          ddy(dtype, {n, cols}, dy), dids(DType::I32, {n}, as_values(ids));
      cuda::embedding_backward(got, ddy, dids);
      cuda::embedding_backward(again, ddy, dids);
      expect_accurate("embedding_backward", got.read(), dtable.values(), grad);
      expect_same_bits("embedding_backward, again", got, again);
    }
}

// Three passes of the sort.
KERNEL_CASE(embedding_backward_of_many_ids) {
  const int64_t n = 300, cols = 2, vocabulary = 70000;
  const Values dy = fuzz.values(n * cols);
  const auto ids = any_ids(fuzz, n, vocabulary);
  OnHost dtable({vocabulary, cols}), hdy({n, cols}, dy), hids({n}, ids);
  cpu::embedding_backward(dtable, hdy, hids);
  OnDevice got(DType::F64, {vocabulary, cols}), ddy(DType::F64, {n, cols}, dy), dids(DType::I32, {n}, as_values(ids));
  cuda::embedding_backward(got, ddy, dids);
  expect_accurate("embedding_backward", got.read(), dtable.values(), DType::F64);
}

}  // namespace lowrank::testing
