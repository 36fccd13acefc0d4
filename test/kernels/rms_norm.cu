// rms_norm, rms_norm_backward
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

struct Sizes {
  DType dtype, small;  // small: of w
  int64_t rows, cols, offset;
  bool half() const { return dtype == DType::BF16 || dtype == DType::F16; }
  DType sums() const { return dtype == DType::F64 ? DType::F64 : DType::F32; }
};

Sizes any_sizes(Fuzz& fuzz, DType dtype) {
  const bool half = dtype == DType::BF16 || dtype == DType::F16;
  return {dtype, half && fuzz.pick({true, false}) ? DType::F32 : dtype, fuzz.between(1, 11),
          fuzz.pick<int64_t>({1, 6, 33, 72, 256, 1000, 1096, 2500, 8200}), fuzz.pick<int64_t>({0, 0, 3})};
}

void check_output(const std::string& what, const OnDevice& got, const Values& plain, const Values& expected) {
  const DType dtype = got.view().dtype;
  if (dtype == DType::BF16 || dtype == DType::F16) expect_as_good(what, got.read(), plain, expected, dtype);
  else expect_close(what, got.read(), expected, dtype == DType::F64 ? 1e-12 : 4e-6, 1e-7);
}

void forward(Fuzz& fuzz, DType dtype) {
  const Sizes sizes = any_sizes(fuzz, dtype);
  const auto [type, small, rows, cols, offset] = sizes;
  Dropout dropout;
  if (fuzz.pick({true, false})) dropout = {int32_t(fuzz.between(100, 250)), 7, 3, fuzz.bits(), 11};
  const bool with_residual = fuzz.pick({true, false}), with_h = with_residual || dropout.active();
  const double shift = fuzz.pick({0.0, 1.0});
  const std::vector<int64_t> shape{rows, cols};
  const Values x = rounded(fuzz.values(rows * cols), type), residual = rounded(fuzz.values(rows * cols), type);
  const Values w = rounded(fuzz.values(cols), small);
  OnHost ey(shape), eh(shape), er({rows}), hx(shape, x), hr(shape, residual), hw({cols}, w);
  cpu::rms_norm(ey, eh, er, hx, with_residual ? hr.view() : View{}, hw, shift, 1e-6, dropout);
  OnDevice y(type, shape, nullptr, offset), h(type, shape, nullptr, offset), rstd(sizes.sums(), {rows});
  OnDevice dx(type, shape, x, offset), dr(type, shape, residual, offset), dw(small, {cols}, w, offset);
  cuda::rms_norm(y, with_h ? h.view() : View{}, rstd, dx, with_residual ? dr.view() : View{}, dw, shift, 1e-6, dropout);
  Values plain(ey.values().size());
  for (size_t i = 0; i < plain.size(); ++i) {
    const double normal = rounded(rounded(eh.values()[i], type) * er.values()[i / size_t(cols)], type);
    plain[i] = rounded(normal * (w[i % size_t(cols)] + shift), type);
  }
  check_output("y", y, plain, ey.values());
  if (with_h) check_output("h", h, rounded(eh.values(), type), eh.values());
  if (!sizes.half()) expect_close("rstd", rstd.read(), er.values(), type == DType::F64 ? 1e-12 : 4e-6);
}

void backward(Fuzz& fuzz, DType dtype) {
  const Sizes sizes = any_sizes(fuzz, dtype);
  const auto [type, small, rows, cols, offset] = sizes;
  const bool with_dh = fuzz.pick({true, false}), with_dx = fuzz.pick({true, true, false});
  const bool with_dw = !with_dx || fuzz.pick({true, false});
  const double shift = fuzz.pick({0.0, 1.0});
  const std::vector<int64_t> shape{rows, cols};
  const Values dy = rounded(fuzz.values(rows * cols), type), dh = rounded(fuzz.values(rows * cols), type);
  const Values h = rounded(fuzz.values(rows * cols), type), w = rounded(fuzz.values(cols), small);
  Values rstd = fuzz.values(rows, 0.1);
  for (double& each : rstd) each = rounded(1 + each, DType::F32);
  OnHost ex(shape), ew({cols}), hy(shape, dy), hdh(shape, dh), hh(shape, h), hw({cols}, w), hr({rows}, rstd);
  cpu::rms_norm_backward(ex, ew, hy, with_dh ? hdh.view() : View{}, hh, hw, hr, shift);
  OnDevice dx(type, shape, nullptr, offset), dw(small, {cols}), ddy(type, shape, dy, offset);
  OnDevice ddh(type, shape, dh, offset), dhh(type, shape, h, offset), dww(small, {cols}, w, offset);
  OnDevice dr(sizes.sums(), {rows}, rstd);
  cuda::rms_norm_backward(with_dx ? dx.view() : View{}, with_dw ? dw.view() : View{}, ddy,
                          with_dh ? ddh.view() : View{}, dhh, dww, dr, shift);
  if (with_dx) check_output("dx", dx, rounded(ex.values(), type), ex.values());
  if (with_dw) check_output("dw", dw, rounded(ew.values(), small), ew.values());
}

}  // namespace

KERNEL_CASE(rms_norm_of_any_shape) {
  for (const DType dtype : {DType::F32, DType::F64, DType::BF16, DType::F16}) forward(fuzz, dtype);
}

KERNEL_CASE(rms_norm_backward_of_any_shape) {
  for (const DType dtype : {DType::F32, DType::F64, DType::BF16, DType::F16}) backward(fuzz, dtype);
}

KERNEL_CASE(rms_norm_without_rows) {
  OnDevice y(DType::F32, {0, 8}), rstd(DType::F32, {0}), w(DType::F32, {8}, Values(8, 1.0)), dw(DType::F32, {8});
  cuda::rms_norm(y, View{}, rstd, y, View{}, w, 0, 1e-6, Dropout{});
  cuda::rms_norm_backward(y, dw, y, View{}, y, w, rstd, 0);
  expect_close("dw", dw.read(), Values(8, 0.0), 0);
}

}  // namespace lowrank::testing
