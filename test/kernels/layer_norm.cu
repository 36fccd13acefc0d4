// layer_norm, layer_norm_backward
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

// Rows of a warp, of a block, longer ones; odd ones.
int64_t any_cols(Fuzz& fuzz) { return fuzz.pick<int64_t>({1, 6, 33, 72, 256, 1000, 1096, 2500, 8200}); }

Dropout any_dropout(Fuzz& fuzz) {
  Dropout d;
  if (fuzz.pick({true, false})) d.keep = int32_t(fuzz.between(100, 250));
  d.seed = fuzz.bits(), d.site = 7, d.step = 3, d.row_offset = 11;
  return d;
}

struct Sizes {
  DType dtype, small;  // small: of w and b
  int64_t rows, cols, offset;
};

Sizes any_sizes(Fuzz& fuzz, DType dtype) {
  const bool half = dtype == DType::BF16 || dtype == DType::F16;
  return {dtype, half && fuzz.pick({true, false}) ? DType::F32 : dtype, fuzz.between(1, 11), any_cols(fuzz),
          fuzz.pick<int64_t>({0, 0, 3})};
}

double relative_of(DType dtype) { return dtype == DType::F64 ? 1e-12 : 4e-6; }
bool is_half(DType dtype) { return dtype == DType::BF16 || dtype == DType::F16; }
DType sums_of(DType dtype) { return dtype == DType::F64 ? DType::F64 : DType::F32; }

void check_output(const std::string& what, const OnDevice& got, const Values& plain, const Values& expected) {
  const DType dtype = got.view().dtype;
  if (is_half(dtype)) expect_as_good(what, got.read(), plain, expected, dtype);
  else expect_close(what, got.read(), expected, relative_of(dtype), 1e-7);
}

// The steps of the template, each rounded.
Values plain_norm(const Values& h, const Values& w, const Values& b, const Values& mean, const Values& rstd,
                  DType dtype) {
  Values y(h.size());
  for (size_t i = 0; i < h.size(); ++i) {
    const size_t row = i / w.size(), c = i % w.size();
    const double normal = rounded((rounded(h[i], dtype) - mean[row]) * rstd[row], dtype);
    y[i] = rounded(rounded(normal * w[c], dtype) + (b.empty() ? 0.0 : b[c]), dtype);
  }
  return y;
}

void forward(Fuzz& fuzz, DType dtype) {
  const auto [type, small, rows, cols, offset] = any_sizes(fuzz, dtype);
  const Dropout dropout = any_dropout(fuzz);
  const bool with_residual = fuzz.pick({true, false}), with_bias = fuzz.pick({true, false});
  const bool with_h = with_residual || dropout.active();
  const Values x = rounded(fuzz.values(rows * cols), type), residual = rounded(fuzz.values(rows * cols), type);
  const Values w = rounded(fuzz.values(cols), small), b = rounded(fuzz.values(cols), small);
  OnHost ey({rows, cols}), eh({rows, cols}), em({rows}), er({rows}), hx({rows, cols}, x);
  OnHost hr({rows, cols}, residual), hw({cols}, w), hb({cols}, b);
  cpu::layer_norm(ey, eh, em, er, hx, with_residual ? hr.view() : View{}, hw, with_bias ? hb.view() : View{}, 1e-5,
                  dropout);
  OnDevice y(type, {rows, cols}, nullptr, offset), h(type, {rows, cols}, nullptr, offset);
  OnDevice mean(sums_of(type), {rows}), rstd(sums_of(type), {rows}), dx(type, {rows, cols}, x, offset);
  OnDevice dr(type, {rows, cols}, residual, offset), dw(small, {cols}, w, offset), db(small, {cols}, b, offset);
  cuda::layer_norm(y, with_h ? h.view() : View{}, mean, rstd, dx, with_residual ? dr.view() : View{}, dw,
                   with_bias ? db.view() : View{}, 1e-5, dropout);
  const Values plain = plain_norm(eh.values(), w, with_bias ? b : Values{}, em.values(), er.values(), type);
  check_output("y", y, plain, ey.values());
  if (with_h) check_output("h", h, rounded(eh.values(), type), eh.values());
  if (is_half(type)) return;  // statistics are those of the rounded h
  expect_close("mean", mean.read(), em.values(), relative_of(type), 1e-6);
  expect_close("rstd", rstd.read(), er.values(), relative_of(type));
}

void backward(Fuzz& fuzz, DType dtype) {
  const auto [type, small, rows, cols, offset] = any_sizes(fuzz, dtype);
  const Dropout dropout = any_dropout(fuzz);
  const bool with_dh = fuzz.pick({true, false}), with_dw = fuzz.pick({true, false});
  const bool with_db = fuzz.pick({true, false}), with_dresidual = dropout.active() && fuzz.pick({true, false});
  const Values dy = rounded(fuzz.values(rows * cols), type), dh = rounded(fuzz.values(rows * cols), type);
  const Values h = rounded(fuzz.values(rows * cols), type), w = rounded(fuzz.values(cols), small);
  const Values mean = rounded(fuzz.values(rows, 0.1), DType::F32);
  Values rstd = mean;
  for (double& each : rstd) each = rounded(1 + each, DType::F32);
  const std::vector<int64_t> shape{rows, cols};
  OnHost ex(shape), er(shape), ew({cols}), eb({cols}), hy(shape, dy), hdh(shape, dh), hh(shape, h), hw({cols}, w);
  OnHost hm({rows}, mean), hr({rows}, rstd);
  cpu::layer_norm_backward(ex, er, ew, eb, hy, with_dh ? hdh.view() : View{}, hh, hw, hm, hr, dropout);
  OnDevice dx(type, shape, nullptr, offset), dr(type, shape, nullptr, offset), dw(small, {cols}), db(small, {cols});
  OnDevice ddy(type, shape, dy, offset), ddh(type, shape, dh, offset), dhh(type, shape, h, offset);
  OnDevice dww(small, {cols}, w, offset), dm(sums_of(type), {rows}, mean), drs(sums_of(type), {rows}, rstd);
  cuda::layer_norm_backward(dx, with_dresidual ? dr.view() : View{}, with_dw ? dw.view() : View{},
                            with_db ? db.view() : View{}, ddy, with_dh ? ddh.view() : View{}, dhh, dww, dm, drs,
                            dropout);
  check_output("dx", dx, rounded(ex.values(), type), ex.values());
  if (with_dresidual) check_output("dresidual", dr, rounded(er.values(), type), er.values());
  if (with_dw) check_output("dw", dw, rounded(ew.values(), small), ew.values());
  if (with_db) check_output("db", db, rounded(eb.values(), small), eb.values());
}

}  // namespace

KERNEL_CASE(layer_norm_of_any_shape) {
  for (const DType dtype : {DType::F32, DType::F64, DType::BF16, DType::F16}) forward(fuzz, dtype);
}

KERNEL_CASE(layer_norm_backward_of_any_shape) {
  for (const DType dtype : {DType::F32, DType::F64, DType::BF16, DType::F16}) backward(fuzz, dtype);
}

KERNEL_CASE(layer_norm_sums_over_pieces_of_rows) {
  const int64_t rows = 64 * fuzz.between(1, 3) + fuzz.between(1, 63), cols = fuzz.pick<int64_t>({8, 11, 40});
  const Values dy = rounded(fuzz.values(rows * cols), DType::BF16), h = rounded(fuzz.values(rows * cols), DType::BF16);
  const Values w(size_t(cols), 1.0), mean(size_t(rows), 0.0), rstd(size_t(rows), 1.0);
  OnHost ex({rows, cols}), ew({cols}), eb({cols}), hy({rows, cols}, dy), hh({rows, cols}, h), hw({cols}, w);
  OnHost hm({rows}, mean), hr({rows}, rstd);
  cpu::layer_norm_backward(ex, View{}, ew, eb, hy, View{}, hh, hw, hm, hr, Dropout{});
  OnDevice dx(DType::BF16, {rows, cols}), dw(DType::F32, {cols}), db(DType::F32, {cols});
  OnDevice ddy(DType::BF16, {rows, cols}, dy), dh(DType::BF16, {rows, cols}, h), dww(DType::F32, {cols}, w);
  OnDevice dm(DType::F32, {rows}, mean), dr(DType::F32, {rows}, rstd);
  cuda::layer_norm_backward(dx, View{}, dw, db, ddy, View{}, dh, dww, dm, dr, Dropout{});
  expect_close("dw", dw.read(), ew.values(), 4e-6);
  expect_close("db", db.read(), eb.values(), 4e-6);
}

KERNEL_CASE(layer_norm_without_rows) {
  OnDevice y(DType::F32, {0, 8}), mean(DType::F32, {0}), w(DType::F32, {8}, Values(8, 1.0));
  cuda::layer_norm(y, View{}, mean, mean, y, View{}, w, View{}, 1e-5, Dropout{});
  OnDevice dw(DType::F32, {8}), db(DType::F32, {8});
  cuda::layer_norm_backward(y, View{}, dw, db, y, View{}, y, w, mean, mean, Dropout{});
  expect_close("dw", dw.read(), Values(8, 0.0), 0);
  expect_close("db", db.read(), Values(8, 0.0), 0);
}

}  // namespace lowrank::testing
