// Ids, labels, positions and lengths that are out of bounds: a fault that names the op, and no foreign memory.
#include "core/queue.h"
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

// Runs an op with a wrong index and returns what the next wait says.
template <typename F>
std::string fault_of(F&& op) {
  op();
  try {
    cuda::backend.finish(0);
  } catch (const Fault& fault) {
    expect(fault.code == Code::Option, "code of " + fault.message);
    return fault.message;
  }
  return "no fault";
}

void expect_message(const std::string& got, const std::string& expected) {
  expect(got == expected, "\"" + got + "\", expected \"" + expected + "\"");
}

OnDevice integers(std::vector<double> values) { return {DType::I32, {int64_t(values.size())}, values}; }

}  // namespace

KERNEL_CASE(wrong_ids_are_faults) {
  const int64_t rows = 5, cols = fuzz.pick<int64_t>({3, 8});
  const OnDevice table(DType::F32, {rows, cols}, fuzz.values(rows * cols)), y(DType::F32, {3, cols});
  const OnDevice dy(DType::F32, {3, cols}, fuzz.values(3 * cols)), dtable(DType::F32, {rows, cols});
  for (const int32_t wrong : {5, -1, 2147483647}) {
    const auto ids = integers({2, double(wrong), 4});
    const std::string rest = "id " + std::to_string(wrong) + " at index 1, expected 0 to 4";
    expect_message(fault_of([&] { cuda::embedding(y, table, ids); }), "embedding: " + rest);
    const Values got = y.read(), all = table.read();
    for (int64_t c = 0; c < cols; ++c) expect(got[size_t(c)] == all[size_t(2 * cols + c)], "rows of right ids");
    expect_message(fault_of([&] { cuda::embedding_backward(dtable, dy, ids); }), "embeddingBackward: " + rest);
  }
  const auto right = integers({0, 4, 2});
  expect_message(fault_of([&] { cuda::embedding(y, table, right); }), "no fault");
}

KERNEL_CASE(wrong_labels_are_faults) {
  const int64_t classes = fuzz.pick<int64_t>({6, 2000}), width = 8;
  const OnDevice logits(DType::F32, {3, classes}, fuzz.values(3 * classes)), loss(DType::F32, {1}),
      lse(DType::F32, {3});
  const OnDevice x(DType::F32, {3, width}, fuzz.values(3 * width)), dx(DType::F32, {3, width});
  const OnDevice w(DType::F32, {classes, width}, fuzz.values(classes * width));
  const auto labels = integers({-100, 3, double(classes)});
  const std::string rest =
      "label " + std::to_string(classes) + " at index 2, expected 0 to " + std::to_string(classes - 1);
  CrossEntropy options{-100, 0, 1};
  expect_message(fault_of([&] { cuda::cross_entropy(loss, lse, logits, labels, View{}, options); }),
                 "crossEntropy: " + rest);
  LinearCrossEntropy linear{-100, 0, 1, 0, 0, 2, Compute::F32};
  expect_message(fault_of([&] { cuda::linear_cross_entropy(loss, dx, x, w, View{}, labels, linear); }),
                 "linearCrossEntropy: " + rest);
}

// Starts past the end, or falling, forward and backward; keys of sequences of their own.
KERNEL_CASE(wrong_starts_of_sequences_are_faults) {
  const DType type = fuzz.pick<DType>({DType::F32, DType::BF16});
  const int64_t dim = 64, n = 8, m = 6;
  const auto rows = [&](int64_t count) { return OnDevice(type, {count, dim}, fuzz.values(count * dim)); };
  const OnDevice q = rows(n), k = rows(m), v = rows(m), dy = rows(n), o = rows(n), dq = rows(n), dk = rows(m),
                 dv = rows(m), lse(DType::F32, {n, 1}, Values(size_t(n), 1.0));
  AttentionShape shape{1, 1, int32_t(dim), 0, n, n, 0.125};
  shape.max_keys = n;
  const auto check = [&](std::vector<double> queries, std::vector<double> keys, const std::string& expected) {
    const auto starts = integers(queries), key_starts = integers(keys);
    expect_message(fault_of([&] { cuda::attention(o, lse, q, k, v, starts, key_starts, View{}, shape, {}); }),
                   expected);
    expect_message(fault_of([&] {
                     cuda::attention_backward(dq, dk, dv, dy, q, k, v, o, lse, starts, key_starts, View{}, shape, {});
                   }),
                   expected);
  };
  check({0, 5, 99}, {0, 2, 6}, "attention: cuSeqlens 99 at index 2, expected 5 to 8");
  check({0, 5, 3, 8}, {0, 2, 4, 6}, "attention: cuSeqlens 3 at index 2, expected 5 to 8");
  check({0, 5, 8}, {0, 2, 7}, "attention: keySeqlens 7 at index 2, expected 2 to 6");
  check({0, 5, 8}, {0, 2, 6}, "no fault");
}

KERNEL_CASE(wrong_positions_are_faults) {
  const int64_t head_dim = fuzz.pick<int64_t>({64, 10}), width = 2 * head_dim;
  const OnDevice x(DType::BF16, {3, width}, fuzz.values(3 * width)), y(DType::BF16, {3, width});
  const OnDevice table(DType::F32, {4, head_dim}, fuzz.values(4 * head_dim));
  const OnDevice w(DType::BF16, {width, width}, fuzz.values(width * width));
  const auto positions = integers({3, 0, 4});
  const std::string expected = "rope: position 4 at index 2, expected 0 to 3";
  expect_message(fault_of([&] { cuda::rope(y, View{}, x, View{}, positions, table, head_dim, false, false); }),
                 expected);
  expect_message(fault_of([&] {
                   cuda::linear(y, x, w, View{}, Compute::BF16, {positions.view(), table.view(), head_dim, false});
                 }),
                 expected);
}

KERNEL_CASE(wrong_lengths_and_pages_are_faults) {
  const int64_t dim = 16, page = 4, most = fuzz.pick<int64_t>({5, 75}), capacity = page * most, count = 2 * most;
  const Values cache = fuzz.values(count * page * dim);
  const OnDevice q(DType::F32, {2, dim}, fuzz.values(2 * dim)), o(DType::F32, {2, dim});
  const OnDevice k(DType::F32, {count, page, dim}, cache), v(DType::F32, {count, page, dim}, cache);
  Values pages(size_t(2 * most), 1);
  const AttentionShape shape{1, 1, int32_t(dim), 0, 0, 0, 0.25};
  const auto attend = [&](double length) {
    const OnDevice table(DType::I32, {2, most}, pages);
    const auto lengths = integers({4, length});
    return fault_of([&] { cuda::attention_decode(o, q, k, v, lengths, table, View{}, shape); });
  };
  expect_message(attend(double(capacity + 1)), "attentionDecode: length " + std::to_string(capacity + 1) +
                                                   " at index 1, expected 0 to " + std::to_string(capacity));
  pages[0] = -1;
  expect_message(attend(3), "attentionDecode: page -1 at index 0, expected 0 to " + std::to_string(count - 1));
  const auto slots = integers({3, double(count * page)});
  expect_message(fault_of([&] { cuda::cache_write(k, v, q, q, slots); }),
                 "cacheWrite: slot " + std::to_string(count * page) + " at index 1, expected 0 to " +
                     std::to_string(count * page - 1));
}

}  // namespace lowrank::testing
