// cross_entropy, bce, mse and their gradients
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

bool is_half(DType dtype) { return dtype == DType::BF16 || dtype == DType::F16; }
DType sums_of(DType dtype) { return dtype == DType::F64 ? DType::F64 : DType::F32; }
double relative_of(DType dtype) { return dtype == DType::F64 ? 1e-12 : 4e-6; }
// Parameters and targets beside half precision are f32 as often as not.
DType small_of(Fuzz& fuzz, DType dtype) { return is_half(dtype) && fuzz.pick({true, false}) ? DType::F32 : dtype; }

// What a difference of logits, or of probabilities and targets, keeps of its terms' roundings.
double rounding_of(DType dtype) { return dtype == DType::F64 ? 1e-15 : 5e-7; }

// `weight`: of the differences of probabilities and targets that the gradient is.
void check_gradient(const std::string& what, const OnDevice& got, const Values& expected, double weight) {
  const DType dtype = got.view().dtype;
  if (is_half(dtype)) expect_as_good(what, got.read(), rounded(expected, dtype), expected, dtype);
  else expect_close(what, got.read(), expected, relative_of(dtype), weight * rounding_of(dtype));
}

struct Labels {
  Labels(Fuzz& fuzz, int64_t rows, int64_t classes) {
    for (int64_t r = 0; r < rows; ++r)
      values.push_back(fuzz.pick({1, 2, 3, 4}) == 1 ? -100.0 : double(fuzz.between(0, classes - 1)));
    integers.assign(values.begin(), values.end());
  }
  Values values;
  std::vector<int32_t> integers;
};

void cross_entropy(Fuzz& fuzz, DType dtype, int64_t rows, int64_t classes, int64_t offset) {
  const DType small = small_of(fuzz, dtype);
  const bool weighted = fuzz.pick({true, false});
  const CrossEntropy options{-100, fuzz.pick({0.0, 0.1}), 1.0 / 3};
  const std::vector<int64_t> shape{rows, classes};
  const Labels labels(fuzz, rows, classes);
  Values x = rounded(fuzz.values(rows * classes, 4), dtype), w = rounded(fuzz.values(classes, 0.2), small);
  for (double& each : w) each = rounded(1 + each, small);
  OnHost loss({1}), lse({rows}), dx(shape), hx(shape, x), hl({rows}, labels.integers), hw({classes}, w);
  OnHost dloss({1}, Values{0.75});
  const View class_weights = weighted ? hw.view() : View{};
  cpu::cross_entropy(loss, lse, hx, hl, class_weights, options);
  cpu::cross_entropy_backward(dx, dloss, hx, hl, class_weights, lse, options);
  OnDevice gloss(sums_of(dtype), {1}), glse(sums_of(dtype), {rows}), gdx(dtype, shape, nullptr, offset);
  OnDevice gx(dtype, shape, x, offset), gl(DType::I32, {rows}, labels.values), gw(small, {classes}, w, offset);
  OnDevice gdloss(sums_of(dtype), {1}, Values{0.75});
  const View device_weights = weighted ? gw.view() : View{};
  cuda::cross_entropy(gloss, glse, gx, gl, device_weights, options);
  expect_close("loss", gloss.read(), loss.values(), relative_of(dtype), double(rows) / 3 * rounding_of(dtype));
  expect_close("lse", glse.read(), lse.values(), relative_of(dtype), rounding_of(dtype));
  cuda::cross_entropy_backward(gdx, gdloss, gx, gl, device_weights, glse, options);
  check_gradient("dlogits", gdx, dx.values(), 0.25);
  cuda::cross_entropy_backward(gx, gdloss, gx, gl, device_weights, glse, options);
  expect_same_bits("dlogits in place", gx, gdx);
}

void elementwise(Fuzz& fuzz, DType dtype) {
  const int64_t rows = fuzz.pick<int64_t>({1, 3, 40}), cols = fuzz.pick<int64_t>({1, 5, 8, 333});
  const int64_t offset = fuzz.pick<int64_t>({0, 0, 1});
  const DType small = small_of(fuzz, dtype);
  const bool weighted = fuzz.pick({true, false});
  const std::vector<int64_t> shape{rows, cols};
  const Values x = rounded(fuzz.values(rows * cols, 4), dtype);
  Values t = fuzz.values(rows * cols), w = fuzz.values(cols, 0.2);
  for (double& each : t) each = rounded(1 / (1 + std::exp(-each)), small);
  for (double& each : w) each = rounded(1 + each, small);
  OnHost loss({1}), dx(shape), hx(shape, x), ht(shape, t), hw({cols}, w), dloss({1}, Values{-0.5});
  OnDevice gloss(sums_of(dtype), {1}), gdx(dtype, shape, nullptr, offset), gx(dtype, shape, x, offset);
  OnDevice gt(small, shape, t, offset), gw(small, {cols}, w), gdloss(sums_of(dtype), {1}, Values{-0.5});
  const View host_weights = weighted ? hw.view() : View{}, weights = weighted ? gw.view() : View{};
  cpu::bce(loss, hx, ht, host_weights, 0.2);
  cpu::bce_backward(dx, dloss, hx, ht, host_weights, 0.2);
  cuda::bce(gloss, gx, gt, weights, 0.2);
  cuda::bce_backward(gdx, gdloss, gx, gt, weights, 0.2);
  expect_close("bce", gloss.read(), loss.values(), relative_of(dtype));
  check_gradient("dlogits of bce", gdx, dx.values(), 0.1);
  cpu::mse(loss, hx, ht, 0.2);
  cpu::mse_backward(dx, dloss, hx, ht, 0.2);
  cuda::mse(gloss, gx, gt, 0.2);
  cuda::mse_backward(gdx, gdloss, gx, gt, 0.2);
  expect_close("mse", gloss.read(), loss.values(), relative_of(dtype));
  check_gradient("dx of mse", gdx, dx.values(), 0.2);
}

}  // namespace

KERNEL_CASE(cross_entropy_of_any_shape) {
  for (const DType dtype : {DType::F32, DType::F64, DType::BF16, DType::F16})
    cross_entropy(fuzz, dtype, fuzz.between(1, 12), fuzz.pick<int64_t>({1, 2, 9, 64, 200, 1000}),
                  fuzz.pick<int64_t>({0, 0, 3}));
}

KERNEL_CASE(cross_entropy_of_wide_vocabularies) {
  for (const DType dtype : {DType::F32, DType::BF16})
    cross_entropy(fuzz, dtype, fuzz.between(1, 3), fuzz.pick<int64_t>({1028, 1031, 5000, 8192}), 0);
}

KERNEL_CASE(cross_entropy_of_infinite_logits) {
  const double no = -std::numeric_limits<double>::infinity();
  const Values x{no, 1, no, 2, no, no, no, no, 3, 3, 3, 3, no, 500, 500, no};
  OnDevice loss(DType::F32, {1}), lse(DType::F32, {4}), logits(DType::F32, {4, 4}, x);
  OnDevice labels(DType::I32, {4}, Values{1, -100, 2, 1}), dloss(DType::F32, {1}, Values{1}), dx(DType::F32, {4, 4});
  const CrossEntropy options{-100, 0, 1};
  cuda::cross_entropy(loss, lse, logits, labels, View{}, options);
  cuda::cross_entropy_backward(dx, dloss, logits, labels, View{}, lse, options);
  expect_close("loss", loss.read(), {std::log1p(std::exp(1.0)) + std::log(4.0) + std::log(2.0)}, 1e-6);
  const double p = 1 / (1 + std::exp(1.0));
  expect_close("dlogits", dx.read(), {0, p - 1, 0, 1 - p, 0, 0, 0, 0, .25, .25, -.75, .25, 0, -.5, .5, 0}, 1e-5);
}

KERNEL_CASE(bce_and_mse_of_any_shape) {
  for (const DType dtype : {DType::F32, DType::F64, DType::BF16, DType::F16}) elementwise(fuzz, dtype);
}

KERNEL_CASE(losses_of_nothing_are_zero) {
  OnDevice loss(DType::F32, {1}), none(DType::BF16, {0, 5}), lse(DType::F32, {0}), labels(DType::I32, {0});
  cuda::cross_entropy(loss, lse, none, labels, View{}, CrossEntropy{-100, 0, 1});
  expect_close("cross entropy", loss.read(), {0}, 0);
  cuda::bce(loss, none, none, View{}, 1);
  expect_close("bce", loss.read(), {0}, 0);
  cuda::mse(loss, none, none, 1);
  expect_close("mse", loss.read(), {0}, 0);
}

}  // namespace lowrank::testing
