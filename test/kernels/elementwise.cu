// fill, add, multiply, accumulate, scale, activations, log1mexp
#include <memory>

#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

// A length, and an offset that breaks alignment half of the time.
int64_t any_length(Fuzz& fuzz) { return fuzz.pick<int64_t>({0, 1, 7, 256, 1000, 4099}); }
int64_t any_offset(Fuzz& fuzz) { return fuzz.pick<int64_t>({0, 0, 1, 3}); }

}  // namespace

KERNEL_CASE(add_and_multiply_of_any_length) {
  for (const DType dtype : FLOATS) {
    const int64_t n = any_length(fuzz), offset = any_offset(fuzz);
    const Values a = rounded(fuzz.values(n), dtype), b = rounded(fuzz.values(n), dtype);
    OnHost sum({n}), product({n}), ha({n}, a), hb({n}, b);
    cpu::add(sum, ha, hb);
    cpu::multiply(product, ha, hb);
    OnDevice y(dtype, {n}, nullptr, offset), z(dtype, {n}), da(dtype, {n}, a, offset), db(dtype, {n}, b, offset);
    cuda::add(y, da, db);
    expect_close("add", y.read(), rounded(sum.values(), dtype), 0);
    cuda::multiply(z, da, db);
    expect_close("multiply", z.read(), rounded(product.values(), dtype), 0);
  }
}

KERNEL_CASE(accumulate_and_scale_of_any_length) {
  for (const DType dtype : FLOATS) {
    const int64_t n = any_length(fuzz), offset = any_offset(fuzz);
    const double alpha = rounded(fuzz.uniform() * 4 - 2, DType::F32);
    const Values x = rounded(fuzz.values(n), dtype), y = rounded(fuzz.values(n), dtype);
    OnHost sum({n}, y), product({n}), hx({n}, x);
    cpu::accumulate(sum, hx, alpha);
    cpu::scale(product, hx, alpha);
    OnDevice dy(dtype, {n}, y, offset), dz(dtype, {n}, nullptr, offset), dx(dtype, {n}, x, offset);
    cuda::accumulate(dy, dx, alpha);
    expect_accurate("accumulate", dy.read(), sum.values(), dtype);
    cuda::scale(dz, dx, alpha);
    expect_accurate("scale", dz.read(), product.values(), dtype);
  }
}

KERNEL_CASE(activations_and_their_gradients) {
  for (const DType dtype : FLOATS)
    for (int kind = 0; kind < 5; ++kind) {
      const int64_t n = fuzz.pick<int64_t>({0, 1, 13, 300}), offset = any_offset(fuzz);
      Values x = rounded(fuzz.values(n, fuzz.pick({0.5, 3.0, 8.0})), dtype), dy = rounded(fuzz.values(n), dtype);
      if (n) x[0] = dy[0] = 1;  // errors are relative to the largest value; tails alone would be measured by themselves
      OnHost y({n}), g({n}), hx({n}, x), hdy({n}, dy);
      cpu::activation(y, hx, Activation(kind));
      cpu::activation_backward(g, hdy, hx, Activation(kind));
      const std::string name = "activation " + std::to_string(kind);
      OnDevice out(dtype, {n}, nullptr, offset), in(dtype, {n}, x), grad(dtype, {n}, dy, offset);
      cuda::activation(out, in, Activation(kind));
      expect_accurate(name, out.read(), y.values(), dtype);
      cuda::activation_backward(grad, grad, in, Activation(kind));  // in place
      expect_accurate(name + ", gradient", grad.read(), g.values(), dtype);
    }
}

KERNEL_CASE(log1mexp_and_its_gradient) {
  for (const DType dtype : FLOATS) {
    const int64_t n = any_length(fuzz), offset = any_offset(fuzz);
    Values x = fuzz.values(n, fuzz.pick({0.5, 3.0, 20.0})), dy = rounded(fuzz.values(n), dtype);
    for (double& value : x) value = -0.05 - std::fabs(value);
    x = rounded(x, dtype);
    if (n) x[0] = rounded(-0.05, dtype), dy[0] = 1;
    OnHost y({n}), g({n}), hx({n}, x), hdy({n}, dy);
    cpu::log1mexp(y, hx);
    cpu::log1mexp_backward(g, hdy, hx);
    OnDevice out(dtype, {n}, nullptr, offset), grad(dtype, {n}, nullptr, offset);
    OnDevice in(dtype, {n}, x), upstream(dtype, {n}, dy);
    cuda::log1mexp(out, in);
    expect_accurate("log1mexp", out.read(), y.values(), dtype);
    cuda::log1mexp_backward(grad, upstream, in);
    expect_accurate("log1mexp, gradient", grad.read(), g.values(), dtype);
  }
}

KERNEL_CASE(log1mexp_of_extremes) {
  const Values x = {NAN, -INFINITY, 0, -0.0, -1e-9, 1, -1e4, -0.7};
  const int64_t n = int64_t(x.size());
  for (const DType dtype : FLOATS) {
    OnHost y({n}), g({n}), hx({n}, x), ones({n}, Values(x.size(), 1.0));
    cpu::log1mexp(y, hx);
    cpu::log1mexp_backward(g, ones, hx);
    OnDevice out(dtype, {n}), in(dtype, {n}, x), upstream(dtype, {n}, Values(x.size(), 1.0)), grad(dtype, {n});
    cuda::log1mexp(out, in);
    expect_same_kinds("log1mexp", out.read(), y.values());
    // f16 ends at 65504, before the gradient at a probability of 1.
    if (dtype != DType::F16) {
      cuda::log1mexp_backward(grad, upstream, in);
      expect_same_kinds("log1mexp, gradient", grad.read(), g.values());
    }
  }
}

KERNEL_CASE(activations_of_extremes) {
  const Values x = {NAN, INFINITY, -INFINITY, 0, -0.0, 1e4, -1e4, 90, -90, 1e-7};
  const Values ones(x.size(), 1.0);
  const int64_t n = int64_t(x.size());
  for (const DType dtype : FLOATS)
    for (int kind = 0; kind < 5; ++kind) {
      OnHost y({n}), g({n}), hx({n}, x), hdy({n}, ones);
      cpu::activation(y, hx, Activation(kind));
      cpu::activation_backward(g, hdy, hx, Activation(kind));
      const std::string name = "activation " + std::to_string(kind) + " in " + name_of(dtype);
      OnDevice out(dtype, {n}), in(dtype, {n}, x), grad(dtype, {n}, ones);
      cuda::activation(out, in, Activation(kind));
      expect_same_kinds(name, out.read(), y.values());
      cuda::activation_backward(grad, grad, in, Activation(kind));
      expect_same_kinds(name + ", gradient", grad.read(), g.values());
    }
}

KERNEL_CASE(accumulate_all_of_any_lengths) {
  for (const DType dtype : FLOATS) {
    std::vector<std::unique_ptr<OnDevice>> sums, terms, single;
    Accumulations list;
    list.count = int32_t(fuzz.pick<int64_t>({1, 2, Accumulations::MOST}));
    for (int i = 0; i < list.count; ++i) {
      const int64_t n = i == 0 ? fuzz.pick<int64_t>({1, 70000}) : any_length(fuzz);
      const Values y = fuzz.values(n), x = fuzz.values(n);
      const int64_t offset = any_offset(fuzz);
      for (auto* all : {&sums, &single})
        all->push_back(std::make_unique<OnDevice>(dtype, std::vector<int64_t>{n}, y, offset));
      terms.push_back(std::make_unique<OnDevice>(dtype, std::vector<int64_t>{n}, x));
      list.pair[i] = {*sums[size_t(i)], *terms[size_t(i)]};
      cuda::accumulate(*single[size_t(i)], *terms[size_t(i)], 1);
    }
    cuda::accumulate_all(list);
    for (int i = 0; i < list.count; ++i) expect_same_bits("accumulate_all", *sums[size_t(i)], *single[size_t(i)]);
  }
}

}  // namespace lowrank::testing
