// linear, matmul: every combination of element types they accept, against the CPU's f64 template.
#include <algorithm>

#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

// One product of two matrices, in f64 on the CPU and with f32 arithmetic of operands rounded to `type`.
struct Expected {
  Expected(int64_t m, int64_t n, int64_t k, const Values& a, const Values& b, bool ta, bool tb, DType type,
           Compute compute) {
    exact = Values(size_t(m * n), 0.0), plain = exact;
    const auto operand = [&](Values x) {
      for (double& each : x)
        each = type == DType::F32 && compute == Compute::TF32 ? rounded_to_tf32(each) : rounded(each, type);
      return x;
    };
    const Values ra = operand(a), rb = operand(b);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        float sum = 0, magnitude = 0;
        for (int64_t l = 0; l < k; ++l) {
          const float term =
              float(ra[size_t(ta ? l * m + i : i * k + l)]) * float(rb[size_t(tb ? j * k + l : l * n + j)]);
          sum += term, magnitude += std::fabs(term);
        }
        plain[size_t(i * n + j)] = double(sum);
        truncated = std::max(truncated, truncation_of(k) * double(magnitude));
      }
    OnHost y({m, n}), ha(ta ? std::vector{k, m} : std::vector{m, k}, a),
        hb(tb ? std::vector{n, k} : std::vector{k, n}, b);
    cpu::matmul(y, ha, hb, ta, tb, Compute::F32);
    exact = y.values();
  }
  void add(const Values& bias) {
    for (size_t i = 0; i < exact.size(); ++i) {
      exact[i] += bias[i % bias.size()];
      plain[i] = double(float(plain[i]) + float(bias[i % bias.size()]));
    }
  }
  Values exact, plain;
  double truncated = 0;  // what tensor cores may lose of any sum
};

// Element types of a call, and what the product is computed in.
struct Types {
  DType x, w, y;
  Compute compute;
  DType product;
};
constexpr Types TYPES[] = {
    {DType::F32, DType::F32, DType::F32, Compute::F32, DType::F32},
    {DType::F64, DType::F64, DType::F64, Compute::F32, DType::F64},
    {DType::F32, DType::BF16, DType::F32, Compute::F32, DType::F32},
    {DType::F32, DType::F32, DType::F32, Compute::BF16, DType::BF16},
    {DType::F32, DType::BF16, DType::F32, Compute::BF16, DType::BF16},
    {DType::F32, DType::F32, DType::F32, Compute::TF32, DType::F32},
    {DType::F32, DType::BF16, DType::F32, Compute::TF32, DType::F32},
    {DType::F64, DType::F64, DType::F64, Compute::TF32, DType::F64},
    {DType::BF16, DType::BF16, DType::BF16, Compute::BF16, DType::BF16},
    {DType::BF16, DType::F32, DType::BF16, Compute::F32, DType::BF16},
    {DType::F16, DType::F16, DType::F16, Compute::BF16, DType::F16},
    {DType::F16, DType::BF16, DType::F16, Compute::BF16, DType::F16},
};

void expect_right(const std::string& what, const Types& types, const OnDevice& y, const Expected& expected) {
  if (types.product == DType::F64) return expect_close(what, y.read(), expected.exact, 1e-13, 1e-13);
  if (types.product == DType::F32 && types.compute == Compute::F32)
    return expect_close(what, y.read(), expected.exact, 2e-6, 1e-7);
  expect_as_good(what, y.read(), rounded(expected.plain, types.y), expected.exact, types.y, expected.truncated);
}

}  // namespace

KERNEL_CASE(linear_of_all_types) {
  for (const Types& types : TYPES) {
    const int64_t n = fuzz.between(1, 80), in = fuzz.pick<int64_t>({1, 17, 64, 120}), out = fuzz.between(1, 90);
    const Values x = rounded(fuzz.values(n * in), types.x), w = rounded(fuzz.values(out * in), types.w);
    const bool with_bias = fuzz.pick({false, true});
    const DType bias_type = types.x == DType::F64 ? DType::F64 : fuzz.pick({DType::F32, types.x});
    const Values bias = rounded(fuzz.values(out), bias_type);
    Expected expected(n, out, in, x, w, false, true, types.product, types.compute);
    if (with_bias) expected.add(bias);
    const OnDevice y(types.y, {n, out}), dx(types.x, {n, in}, x), dw(types.w, {out, in}, w), db(bias_type, {out}, bias);
    cuda::linear(y, dx, dw, with_bias ? db.view() : View{}, types.compute, Rope{});
    expect_right("linear", types, y, expected);
  }
}

KERNEL_CASE(matmul_of_all_types) {
  for (const Types& types : TYPES) {
    const int64_t m = fuzz.between(1, 80), k = fuzz.between(1, 100), n = fuzz.between(1, 80);
    const int form = int(fuzz.between(0, 2));
    const bool ta = form == 1, tb = form == 2;
    const Values a = rounded(fuzz.values(m * k), types.x), b = rounded(fuzz.values(k * n), types.w);
    // A sum may be kept in f32.
    Types kept = types;
    if (fuzz.pick({false, true}) && types.x != DType::F64) kept.y = DType::F32;
    const Expected expected(m, n, k, a, b, ta, tb, types.product, types.compute);
    const OnDevice y(kept.y, {m, n}), da(types.x, {ta ? k : m, ta ? m : k}, a),
        db(types.w, {tb ? n : k, tb ? k : n}, b);
    cuda::matmul(y, da, db, ta, tb, types.compute);
    expect_right("matmul", kept, y, expected);
  }
}

KERNEL_CASE(linear_of_nothing) {
  for (const DType dtype : {DType::F32, DType::BF16}) {
    const Values bias = rounded(fuzz.values(9), dtype);
    const OnDevice y(dtype, {3, 9}), x(dtype, {3, 0}), w(dtype, {9, 0}), db(dtype, {9}, bias);
    cuda::linear(y, x, w, db, Compute::F32, Rope{});
    Values rows;
    for (int i = 0; i < 3; ++i) rows.insert(rows.end(), bias.begin(), bias.end());
    expect_close("k 0 leaves the bias", y.read(), rows, 0);
    const OnDevice none(dtype, {0, 9}), no_rows(dtype, {0, 5}), w5(dtype, {9, 5}, rounded(fuzz.values(45), dtype));
    cuda::linear(none, no_rows, w5, db, Compute::F32, Rope{});
    none.read();
  }
}

}  // namespace lowrank::testing
