// linear_cross_entropy and its gradient
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

DType sums_of(DType dtype) { return dtype == DType::F64 ? DType::F64 : DType::F32; }
bool is_half(DType dtype) { return dtype == DType::BF16 || dtype == DType::F16; }

struct Case {
  Case(Fuzz& fuzz, DType dtype) : dtype(dtype) {
    rows = fuzz.between(1, 40), classes = fuzz.pick<int64_t>({2, 7, 72, 333, 520}),
    width = fuzz.pick<int64_t>({8, 24, 33});
    options.smoothing = fuzz.pick({0.0, 0.1}), options.softcap = fuzz.pick({0.0, 5.0});
    options.z_loss = fuzz.pick({0.0, 0.01}), options.chunk = fuzz.pick<int64_t>({4, 17, 64});
    with_bias = fuzz.pick({true, false});
    x = rounded(fuzz.values(rows * width), dtype), w = rounded(fuzz.values(classes * width, 0.3), dtype);
    bias = rounded(fuzz.values(classes), dtype);
    for (int64_t r = 0; r < rows; ++r)
      labels.push_back(fuzz.pick({1, 2, 3, 4}) == 1 ? -100.0 : double(fuzz.between(0, classes - 1)));
  }
  DType dtype;
  int64_t rows, classes, width;
  bool with_bias;
  LinearCrossEntropy options{-100, 0, 1.0 / 3, 0, 0, 0, Compute::F32};
  Values x, w, bias, labels;
};

// The template with logits and their gradient rounded: x w^T in one call, then row by row on what was rounded.
void plain(const Case& c, Values& loss, Values& dx) {
  const std::vector<int64_t> logit_shape{c.rows, c.classes};
  const LinearCrossEntropy& o = c.options;
  OnHost logits(logit_shape), x({c.rows, c.width}, c.x), w({c.classes, c.width}, c.w), bias({c.classes}, c.bias);
  cpu::linear(logits, x, w, c.with_bias ? bias.view() : View{}, Compute::F32, Rope{});
  Values z = rounded(logits.values(), c.dtype);
  loss = {0};
  for (int64_t r = 0; r < c.rows; ++r) {
    double* row = z.data() + r * c.classes;
    const auto label = int64_t(c.labels[size_t(r)]);
    double sum = 0, all = 0;
    for (int64_t i = 0; o.softcap > 0 && i < c.classes; ++i) row[i] = o.softcap * std::tanh(row[i] / o.softcap);
    for (int64_t i = 0; i < c.classes; ++i) sum += std::exp(row[i]), all += row[i];
    const double lse = std::log(sum), each = o.smoothing / double(c.classes);
    if (label >= 0) loss[0] += o.scale * (lse - (1 - o.smoothing) * row[label] - each * all + o.z_loss * lse * lse);
    for (int64_t i = 0; i < c.classes; ++i) {
      const double share = row[i] / o.softcap, slope = o.softcap > 0 ? 1 - share * share : 1;
      const double g = (1 + 2 * o.z_loss * lse) * std::exp(row[i] - lse) - each - (i == label ? 1 - o.smoothing : 0);
      row[i] = label >= 0 ? rounded(g * slope, c.dtype) : 0;
    }
  }
  OnHost dz(logit_shape, z), d({c.rows, c.width});
  cpu::matmul(d, dz, w, false, false, Compute::F32);
  dx = rounded(d.values(), c.dtype);
}

void check_case(const Case& c) {
  const std::vector<int64_t> shape{c.rows, c.width}, head{c.classes, c.width};
  OnHost loss({1}), dx(shape), x(shape, c.x), w(head, c.w), bias({c.classes}, c.bias);
  OnHost labels({c.rows}, std::vector<int32_t>(c.labels.begin(), c.labels.end()));
  cpu::linear_cross_entropy(loss, dx, x, w, c.with_bias ? bias.view() : View{}, labels, c.options);
  OnDevice gloss(sums_of(c.dtype), {1}), gdx(c.dtype, shape), gx(c.dtype, shape, c.x), gw(c.dtype, head, c.w);
  OnDevice gbias(c.dtype, {c.classes}, c.bias), glabels(DType::I32, {c.rows}, c.labels);
  const View device_bias = c.with_bias ? gbias.view() : View{};
  cuda::linear_cross_entropy(gloss, gdx, gx, gw, device_bias, glabels, c.options);
  if (is_half(c.dtype)) {
    Values plain_loss, plain_dx;
    plain(c, plain_loss, plain_dx);
    expect_as_good("loss", gloss.read(), plain_loss, loss.values(), c.dtype);
    expect_as_good("dx", gdx.read(), plain_dx, dx.values(), c.dtype);
  } else {
    const double relative = c.dtype == DType::F64 ? 1e-12 : 4e-6;
    const double rounding = c.dtype == DType::F64 ? 1e-14 : 1e-6;  // of a difference of logits
    expect_close("loss", gloss.read(), loss.values(), relative, double(c.rows) * c.options.scale * rounding);
    expect_close("dx", gdx.read(), dx.values(), relative, 1e-7);
  }
  OnDevice alone(sums_of(c.dtype), {1});
  cuda::linear_cross_entropy(alone, View{}, gx, gw, device_bias, glabels, c.options);
  expect_same_bits("loss without gradient", alone, gloss);
  // Parts: none of the rows, all but one, and the last with a scale of its own.
  LinearCrossEntropy cut = c.options;
  cut.count = 3;
  cut.parts[0] = {0, 1}, cut.parts[1] = {c.rows - 1, 0.25}, cut.parts[2] = {1, 4};
  OnHost losses({3}), same(shape);
  cpu::linear_cross_entropy(losses, same, x, w, c.with_bias ? bias.view() : View{}, labels, cut);
  OnDevice glosses(sums_of(c.dtype), {3}), gsame(c.dtype, shape);
  cuda::linear_cross_entropy(glosses, gsame, gx, gw, device_bias, glabels, cut);
  const double half = is_half(c.dtype) ? 1.0 / 32 : 0;
  expect_close("losses of parts", glosses.read(), losses.values(), half + 4e-6, double(c.rows) * (half + 4e-6));
  expect_same_bits("dx of parts", gsame, gdx);
}

}  // namespace

KERNEL_CASE(linear_cross_entropy_of_any_shape) {
  for (const DType dtype : {DType::F32, DType::F64, DType::BF16, DType::F16}) check_case(Case(fuzz, dtype));
}

// f32 beside products in bf16, whose operands are converted while losses and logits are held.
KERNEL_CASE(linear_cross_entropy_of_f32_in_bf16) {
  Case c(fuzz, DType::F32);
  c.options.compute = Compute::BF16;
  c.x = rounded(c.x, DType::BF16), c.w = rounded(c.w, DType::BF16);
  const std::vector<int64_t> shape{c.rows, c.width}, head{c.classes, c.width};
  OnHost loss({1}), dx(shape), x(shape, c.x), w(head, c.w), bias({c.classes}, c.bias);
  OnHost labels({c.rows}, std::vector<int32_t>(c.labels.begin(), c.labels.end()));
  cpu::linear_cross_entropy(loss, dx, x, w, c.with_bias ? bias.view() : View{}, labels, c.options);
  OnDevice gloss(DType::F32, {1}), gdx(DType::F32, shape), gx(DType::F32, shape, c.x), gw(DType::F32, head, c.w);
  OnDevice gbias(DType::F32, {c.classes}, c.bias), glabels(DType::I32, {c.rows}, c.labels);
  cuda::linear_cross_entropy(gloss, gdx, gx, gw, c.with_bias ? gbias.view() : View{}, glabels, c.options);
  // Logits are exact to f32; dx is of their gradient rounded to bf16.
  expect_close("loss", gloss.read(), loss.values(), 4e-6, double(c.rows) * c.options.scale * 1e-6);
  expect_close("dx", gdx.read(), dx.values(), 1.0 / 128, 1e-7);
}

KERNEL_CASE(linear_cross_entropy_is_linear_then_cross_entropy) {
  const Case c(fuzz, DType::F64);
  const std::vector<int64_t> shape{c.rows, c.width}, head{c.classes, c.width}, wide{c.rows, c.classes};
  LinearCrossEntropy options = c.options;
  options.softcap = options.z_loss = 0;
  OnDevice x(DType::F64, shape, c.x), w(DType::F64, head, c.w), labels(DType::I32, {c.rows}, c.labels);
  OnDevice loss(DType::F64, {1}), dx(DType::F64, shape), scaled(DType::F64, shape), dloss(DType::F64, {1}, Values{0.7});
  cuda::linear_cross_entropy(loss, dx, x, w, View{}, labels, options);
  cuda::linear_cross_entropy_backward(scaled, dloss, dx, options.scale);
  OnDevice logits(DType::F64, wide), lse(DType::F64, {c.rows}), two(DType::F64, {1}), dz(DType::F64, wide);
  OnDevice expected(DType::F64, shape);
  const CrossEntropy same{-100, options.smoothing, options.scale};
  cuda::linear(logits, x, w, View{}, Compute::F32, Rope{});
  cuda::cross_entropy(two, lse, logits, labels, View{}, same);
  cuda::cross_entropy_backward(dz, dloss, logits, labels, View{}, lse, same);
  cuda::matmul(expected, dz, w, false, false, Compute::F32);
  expect_close("loss", loss.read(), two.read(), 1e-12);
  expect_close("dx", scaled.read(), expected.read(), 1e-12);
}

KERNEL_CASE(linear_cross_entropy_without_rows) {
  OnDevice x(DType::BF16, {0, 8}), w(DType::BF16, {5, 8}, Values(40, 1.0)), labels(DType::I32, {0}),
      loss(DType::F32, {1});
  const LinearCrossEntropy options{-100, 0, 1, 0, 0, 4, Compute::F32};
  cuda::linear_cross_entropy(loss, x, x, w, View{}, labels, options);
  expect_close("loss", loss.read(), {0}, 0);
}

KERNEL_CASE(linear_cross_entropy_backward_scales) {
  for (const DType dtype : {DType::F32, DType::F64, DType::BF16, DType::F16}) {
    const int64_t n = fuzz.pick<int64_t>({1, 7, 64, 1000}), offset = fuzz.pick<int64_t>({0, 1});
    const Values dx = rounded(fuzz.values(n), dtype);
    OnHost expected({n}), x({n}, dx), upstream({1}, Values{-1.5});
    cpu::linear_cross_entropy_backward(expected, upstream, x, 0.25);
    OnDevice y(dtype, {n}, nullptr, offset), gx(dtype, {n}, dx, offset), dloss(sums_of(dtype), {1}, Values{-1.5});
    cuda::linear_cross_entropy_backward(y, dloss, gx, 0.25);
    expect_close("dx", y.read(), rounded(expected.values(), dtype), 0);
  }
}

}  // namespace lowrank::testing
