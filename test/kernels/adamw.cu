// adamw, adamw8
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

// Slices with gaps and odd ends, some of them empty; begins are multiples of `align`.
Values any_slices(Fuzz& fuzz, int64_t count, int64_t align, int64_t* size) {
  Values table;
  int64_t end = fuzz.pick<int64_t>({0, align});
  for (int64_t s = 0; s < count; ++s) {
    const int64_t begin = (end + align - 1) / align * align;
    end = begin + fuzz.pick<int64_t>({0, 1, 3, 64, 130, 1000, 3000});
    table.insert(table.end(), {double(begin), double(end), fuzz.pick({1.0, 0.5}), fuzz.pick({1.0, 0.0, 2.0})});
  }
  *size = end + fuzz.pick<int64_t>({0, 5});
  return table;
}

Values squares(Fuzz& fuzz, int64_t n) {
  Values x = fuzz.values(n, 0.1);
  for (double& each : x) each *= each;
  return x;
}

// Other types than OnHost has.
struct OnNarrowHost {
  OnNarrowHost(DType dtype, const Values& from) : memory(from.size() + 1) {
    view = OnHost({int64_t(from.size())}, from).view();
    view.data = memory.data();
    view.dtype = dtype;
    for (size_t i = 0; i < from.size(); ++i)
      if (dtype == DType::U8) view.as<uint8_t>()[i] = uint8_t(from[i]);
      else view.as<float>()[i] = float(from[i]);
  }
  Values values() const {
    Values all(size_t(view.size()), 0.0);
    for (size_t i = 0; i < all.size(); ++i)
      all[i] = view.dtype == DType::U8 ? double(view.as<uint8_t>()[i]) : double(view.as<float>()[i]);
    return all;
  }
  std::vector<double> memory;
  View view;
};

void expect_codes(const std::string& what, const Values& got, const Values& expected) {
  int64_t differ = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    expect(std::fabs(got[i] - expected[i]) <= 1, what + ": codes differ by more than 1 at " + std::to_string(i));
    differ += got[i] != expected[i];
  }
  expect(differ <= 2 + int64_t(got.size()) / 1000, what + ": " + std::to_string(differ) + " codes differ");
}

}  // namespace

KERNEL_CASE(adamw_over_any_slices) {
  for (const DType dtype : {DType::F32, DType::F64}) {
    int64_t n = 0;
    const int64_t count = fuzz.pick<int64_t>({0, 1, 7, 40}), offset = fuzz.pick<int64_t>({0, 0, 1});
    const Values slices = any_slices(fuzz, count, fuzz.pick<int64_t>({64, 64, 1}), &n);
    const Values p = rounded(fuzz.values(n), dtype), g = rounded(fuzz.values(n, 3), dtype),
                 m = rounded(fuzz.values(n, 0.1), dtype), v = rounded(squares(fuzz, n), dtype);
    const DType wide = fuzz.pick({DType::F32, DType::F64});
    const Values norm = {rounded(fuzz.pick({0.01, 9.0, 4e4}), wide)};
    const AdamW options = {1e-2, 0.9, 0.999, 1e-8, 0.1, fuzz.pick({0.0, 1.0}), fuzz.pick<int64_t>({1, 2, 1000})};
    OnHost hp({n}, p), hg({n}, g), hm({n}, m), hv({n}, v), hslices({count, 4}, slices), hnorm({1}, norm);
    cpu::adamw(hp, hg, hm, hv, hslices, hnorm, options);
    OnDevice dp(dtype, {n}, p, offset), dg(dtype, {n}, g), dm(dtype, {n}, m), dv(dtype, {n}, v, offset);
    OnDevice dslices(DType::F64, {count, 4}, slices), dnorm(wide, {1}, norm);
    cuda::adamw(dp, dg, dm, dv, dslices, dnorm, options);
    expect_accurate("adamw: p", dp.read(), hp.values(), dtype);
    expect_accurate("adamw: m", dm.read(), hm.values(), dtype);
    expect_accurate("adamw: v", dv.read(), hv.values(), dtype);
  }
}

// From the same codes: parameters and scales are exact but for rounding; a code may be the next one, where a value lies
// in the middle between two.
KERNEL_CASE(adamw8_over_any_slices) {
  for (const DType dtype : {DType::F32, DType::F64}) {
    int64_t n = 0;
    const int64_t count = fuzz.pick<int64_t>({0, 1, 5, 12}), offset = fuzz.pick<int64_t>({0, 0, 1});
    const Values slices = any_slices(fuzz, count, fuzz.pick<int64_t>({256, 64, 1}), &n);
    const int64_t blocks = (n + 255) / 256;
    const Values p = rounded(fuzz.values(n), dtype), g = rounded(fuzz.values(n, 3), dtype);
    Values m(size_t(n), 0.0), v(size_t(n), 0.0);
    for (double& code : m) code = double(fuzz.between(0, 255));
    for (double& code : v) code = double(fuzz.between(0, 255));
    Values m_scale(size_t(blocks), 0.0), v_scale = m_scale;
    for (double& scale : m_scale) scale = rounded(fuzz.pick({0.0, 1.0, 0.3}), DType::F32);
    for (double& scale : v_scale) scale = rounded(fuzz.pick({0.0, 1.0, 0.01}), DType::F32);
    const Values norm = {fuzz.pick({0.01, 9.0})};
    const AdamW options = {1e-2, 0.9, 0.999, 1e-8, 0.1, fuzz.pick({0.0, 1.0}), fuzz.pick<int64_t>({1, 1000})};
    OnHost hp({n}, p), hg({n}, g), hslices({count, 4}, slices), hnorm({1}, norm);
    const OnNarrowHost hm(DType::U8, m), hv(DType::U8, v), hm_scale(DType::F32, m_scale), hv_scale(DType::F32, v_scale);
    cpu::adamw8(hp, hg, hm.view, hv.view, hm_scale.view, hv_scale.view, hslices, hnorm, options);
    OnDevice dp(dtype, {n}, p, offset), dg(dtype, {n}, g), dm(DType::U8, {n}, m, offset), dv(DType::U8, {n}, v);
    OnDevice dm_scale(DType::F32, {blocks}, m_scale), dv_scale(DType::F32, {blocks}, v_scale);
    OnDevice dslices(DType::F64, {count, 4}, slices), dnorm(DType::F64, {1}, norm);
    cuda::adamw8(dp, dg, dm, dv, dm_scale, dv_scale, dslices, dnorm, options);
    expect_accurate("adamw8: p", dp.read(), hp.values(), dtype);
    expect_close("adamw8: m scale", dm_scale.read(), hm_scale.values(), 2e-6);
    expect_close("adamw8: v scale", dv_scale.read(), hv_scale.values(), 2e-6);
    expect_codes("adamw8: m", dm.read(), hm.values());
    expect_codes("adamw8: v", dv.read(), hv.values());
  }
}

}  // namespace lowrank::testing
