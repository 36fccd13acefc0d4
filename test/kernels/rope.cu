// rope and its inverse
#include <algorithm>

#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

struct Case {
  Case(Fuzz& fuzz, DType dtype) : dtype(dtype) {
    const bool half = dtype == DType::BF16 || dtype == DType::F16;
    small = half && fuzz.pick({true, true, false}) ? DType::F32 : dtype;
    head_dim = fuzz.pick<int64_t>({2, 5, 16, 24, 64, 80, 256});
    rotary = fuzz.pick({true, false}) ? head_dim / 2 * 2 : std::max<int64_t>(2, head_dim / 4 * 2);
    rows = fuzz.between(1, 7), heads = fuzz.between(1, 5), kv_heads = fuzz.between(1, heads);
    offset = fuzz.pick<int64_t>({0, 0, 1});
    interleaved = fuzz.pick({true, false});
    const Values angles = fuzz.values(POSITIONS * rotary);
    table = rounded(angles, small);
    for (int64_t r = 0; r < rows; ++r) positions.push_back(double(fuzz.between(0, POSITIONS - 1)));
  }
  static constexpr int64_t POSITIONS = 9;
  DType dtype, small;  // small: of the table
  int64_t head_dim, rotary, rows, heads, kv_heads, offset;
  bool interleaved;
  Values table, positions;
};

void check_output(const std::string& what, const OnDevice& got, const Values& expected) {
  const DType dtype = got.view().dtype;
  if (dtype == DType::F64) return expect_close(what, got.read(), expected, 1e-14);
  if (dtype == DType::F32) return expect_close(what, got.read(), expected, 1e-6);
  expect_as_good(what, got.read(), rounded(expected, dtype), expected, dtype, 0, 1.01);
}

void rotate(Fuzz& fuzz, DType dtype, bool inverse) {
  const Case c(fuzz, dtype);
  const std::vector<int64_t> q_shape{c.rows, c.heads * c.head_dim}, k_shape{c.rows, c.kv_heads * c.head_dim};
  const Values q = rounded(fuzz.values(q_shape[0] * q_shape[1]), dtype);
  const Values k = rounded(fuzz.values(k_shape[0] * k_shape[1]), dtype);
  const std::vector<int32_t> at(c.positions.begin(), c.positions.end());
  OnHost eq(q_shape), ek(k_shape), hq(q_shape, q), hk(k_shape, k), hp({c.rows}, at);
  OnHost ht({Case::POSITIONS, c.rotary}, c.table);
  cpu::rope(eq, ek, hq, hk, hp, ht, c.head_dim, c.interleaved, inverse);
  OnDevice yq(dtype, q_shape, nullptr, c.offset), yk(dtype, k_shape), dq(dtype, q_shape, q, c.offset);
  OnDevice dk(dtype, k_shape, k), dp(DType::I32, {c.rows}, c.positions);
  OnDevice dt(c.small, {Case::POSITIONS, c.rotary}, c.table);
  cuda::rope(yq, yk, dq, dk, dp, dt, c.head_dim, c.interleaved, inverse);
  check_output("q", yq, eq.values());
  check_output("k", yk, ek.values());
  cuda::rope(dq, View{}, dq, View{}, dp, dt, c.head_dim, c.interleaved, inverse);
  expect_same_bits("q in place", dq, yq);
}

}  // namespace

KERNEL_CASE(rope_of_any_shape) {
  for (const DType dtype : {DType::F32, DType::F64, DType::BF16, DType::F16}) rotate(fuzz, dtype, false);
}

KERNEL_CASE(rope_inverse_of_any_shape) {
  for (const DType dtype : {DType::F32, DType::F64, DType::BF16, DType::F16}) rotate(fuzz, dtype, true);
}

KERNEL_CASE(rope_without_rows) {
  OnDevice none(DType::F32, {0, 8}), positions(DType::I32, {0}), table(DType::F32, {2, 8}, Values(16, 1.0));
  cuda::rope(none, none, none, none, positions, table, 8, false, false);
}

}  // namespace lowrank::testing
