// attention_bias_backward
#include <algorithm>
#include <cmath>

#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

std::vector<int32_t> some_starts(Fuzz& fuzz, int64_t sequences, int64_t& longest) {
  std::vector<int32_t> starts = {0};
  for (int64_t i = 0; i < sequences; ++i) {
    const int64_t length = fuzz.pick<int64_t>({0, 1, 5, 31, 32, 33, 64, 70});
    starts.push_back(starts.back() + int32_t(length));
    longest = std::max(longest, length);
  }
  return starts;
}

std::vector<double> as_doubles(const std::vector<int32_t>& x) { return {x.begin(), x.end()}; }

struct Case {
  std::vector<int32_t> starts, key_starts;  // key_starts empty: the queries'
  AttentionShape shape;
  Dropout dropout;
  int64_t reach;
};

Case some_case(Fuzz& fuzz, int32_t dim) {
  const int32_t kv_heads = fuzz.pick({1, 2});
  Case c{};
  c.shape = {kv_heads * fuzz.pick({1, 2}), kv_heads, dim, fuzz.pick({0, 1}), 0, 128, 1 / std::sqrt(double(dim))};
  const int64_t sequences = fuzz.between(1, 3);
  c.starts = some_starts(fuzz, sequences, c.shape.max_length);
  if (fuzz.uniform() < 0.3) c.key_starts = some_starts(fuzz, sequences, c.shape.max_keys);
  if (fuzz.uniform() < 0.3) c.shape.window = fuzz.pick<int64_t>({1, 7, 40});
  if (fuzz.uniform() < 0.3) c.shape.softcap = 1.5;
  if (fuzz.uniform() < 0.5) c.dropout.keep = 200, c.dropout.seed = fuzz.bits(), c.dropout.row_offset = 3;
  c.reach = std::max({c.shape.max_length, c.shape.max_keys, int64_t(1)}) + fuzz.pick<int64_t>({0, 3});
  return c;
}

// Both from the device's own o and lse, twice, with the same bits.
void expect_gradient(Fuzz& fuzz, const Case& c, DType dtype, double tolerance) {
  const auto& s = c.shape;
  const DType wide = dtype == DType::F64 ? DType::F64 : DType::F32;
  const int64_t n = c.starts.back(), m = (c.key_starts.empty() ? c.starts : c.key_starts).back();
  const int64_t width = s.heads * s.head_dim, key_width = s.kv_heads * s.head_dim, columns = 2 * c.reach - 1;
  const auto values = [&](int64_t count, DType of) { return rounded(fuzz.values(count), of); };
  const Values xq = values(n * width, dtype), xk = values(m * key_width, dtype), xv = values(m * key_width, dtype);
  const Values xdy = values(n * width, dtype), xb = values(s.heads * columns, wide);
  const OnDevice q(dtype, {n, width}, xq), k(dtype, {m, key_width}, xk), v(dtype, {m, key_width}, xv);
  const OnDevice dy(dtype, {n, width}, xdy), bias(wide, {s.heads, columns}, xb);
  const OnDevice starts(DType::I32, {int64_t(c.starts.size())}, as_doubles(c.starts));
  const OnDevice key_starts(DType::I32, {int64_t(c.key_starts.size())}, as_doubles(c.key_starts));
  const View keys = c.key_starts.empty() ? View{} : key_starts.view();
  OnDevice o(dtype, {n, width}), lse(wide, {n, s.heads}), one(wide, {s.heads, columns}), two(wide, {s.heads, columns});
  cuda::attention(o, lse, q, k, v, starts, keys, bias, s, c.dropout);
  for (const OnDevice* dbias : {&one, &two})
    cuda::attention_bias_backward(dbias->view(), dy, q, k, v, o, lse, starts, keys, bias, s, c.dropout);
  if (cuda::backend.finish) cuda::backend.finish(0);

  const OnHost hq({n, width}, xq), hk({m, key_width}, xk), hv({m, key_width}, xv), hdy({n, width}, xdy);
  const OnHost ho({n, width}, o.read()), hlse({n, s.heads}, lse.read()), hb({s.heads, columns}, xb);
  const OnHost hs({int64_t(c.starts.size())}, c.starts), hks({int64_t(c.key_starts.size())}, c.key_starts);
  OnHost expected({s.heads, columns});
  cpu::attention_bias_backward(expected, hdy, hq, hk, hv, ho, hlse, hs, c.key_starts.empty() ? View{} : hks.view(), hb,
                               s, c.dropout);
  const std::string name = std::string("dbias ") + name_of(dtype) + " dim " + std::to_string(s.head_dim);
  // Where a query sees few keys dy v - dy o cancels, and the rounding of both stays.
  const double absolute = tolerance * (std::max(1.0, largest(expected.values())) + 0.05 * s.head_dim);
  expect_close(name, one.read(), expected.values(), tolerance, absolute);
  expect_same_bits(name + " twice", one, two);
}

}  // namespace

KERNEL_CASE(attention_bias_of_any_sequences) {
  for (const DType dtype : {DType::F32, DType::F64, DType::BF16, DType::F16}) {
    const int32_t dim = fuzz.pick({1, 3, 8, 24, 64, 72, dtype == DType::F64 ? 128 : 256});
    expect_gradient(fuzz, some_case(fuzz, dim), dtype, dtype == DType::F64 ? 1e-12 : 2e-5);
  }
}

}  // namespace lowrank::testing
