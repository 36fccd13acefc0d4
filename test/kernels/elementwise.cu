// fill, add, multiply, accumulate, scale, columns scaled, norms of rows, activations, log1mexp
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

KERNEL_CASE(columns_scaled_and_shifted) {
  for (const DType dtype : FLOATS) {
    const int64_t rows = fuzz.pick<int64_t>({0, 1, 5, 70}), cols = fuzz.pick<int64_t>({1, 7, 32, 100}), n = rows * cols;
    const Values x = rounded(fuzz.values(n), dtype), dy = rounded(fuzz.values(n), dtype);
    const Values v = rounded(fuzz.values(cols), dtype), bias = rounded(fuzz.values(cols), dtype);
    OnHost y({rows, cols}), hx({rows, cols}, x), hv({cols}, v), hb({cols}, bias), hdy({rows, cols}, dy);
    OnHost hdx({rows, cols}), hdv({cols});
    cpu::scale_columns(y, hx, hv, View{});
    const Values scaled = rounded(y.values(), dtype);
    OnDevice out(dtype, {rows, cols}), in(dtype, {rows, cols}, x, any_offset(fuzz)), by(dtype, {cols}, v);
    OnDevice shift(dtype, {cols}, bias), grad(dtype, {rows, cols}, dy);
    OnDevice sums(dtype == DType::F64 ? DType::F64 : DType::F32, {cols});
    cuda::scale_columns(out, in, by, View{});
    expect_close("columns scaled", out.read(), scaled, 0);
    Values shifted = scaled, magnitudes(size_t(cols), 0.0);
    for (size_t i = 0; i < scaled.size(); ++i) {
      shifted[i] += bias[i % size_t(cols)];
      magnitudes[i % size_t(cols)] += std::fabs(dy[i] * x[i]);
    }
    cuda::scale_columns(out, in, by, shift);
    expect_accurate("columns scaled and shifted", out.read(), shifted, dtype);
    cpu::scale_columns_backward(hdx, hdv, hdy, hx, hv);
    cuda::scale_columns_backward(grad, sums, grad, in, by);  // in place
    expect_close("columns scaled, dx", grad.read(), rounded(hdx.values(), dtype), 0);
    const bool half = dtype == DType::BF16 || dtype == DType::F16;  // whose products are rounded before they are summed
    if (half)
      for (double& each : magnitudes) each *= 1e5;
    expect_sums("columns scaled, dv", sums.read(), hdv.values(), magnitudes, sums.view().dtype);
  }
}

KERNEL_CASE(inverse_norms_of_rows) {
  for (const DType dtype : {DType::F32, DType::F64}) {
    const int64_t out = fuzz.pick<int64_t>({1, 5, 128, 300}), r = fuzz.pick<int64_t>({1, 3, 8}), in = 16;
    const Values w = rounded(fuzz.values(out * in), dtype), a = rounded(fuzz.values(r * in), dtype);
    const Values b = rounded(fuzz.values(out * r), dtype);
    Values squares(size_t(out), 0.0), wa(size_t(r * out), 0.0), gram(size_t(r * r), 0.0), expected(size_t(out), 0.0);
    for (int64_t o = 0; o < out; ++o)
      for (int64_t i = 0; i < in; ++i) {
        double sum = w[size_t(o * in + i)];
        for (int64_t k = 0; k < r; ++k) sum += 0.5 * b[size_t(o * r + k)] * a[size_t(k * in + i)];
        expected[size_t(o)] += sum * sum;
        squares[size_t(o)] += w[size_t(o * in + i)] * w[size_t(o * in + i)];
        for (int64_t k = 0; k < r; ++k) wa[size_t(k * out + o)] += a[size_t(k * in + i)] * w[size_t(o * in + i)];
      }
    for (int64_t k = 0; k < r; ++k)
      for (int64_t j = 0; j < r; ++j)
        for (int64_t i = 0; i < in; ++i) gram[size_t(k * r + j)] += a[size_t(k * in + i)] * a[size_t(j * in + i)];
    for (double& each : expected) each = 1 / std::sqrt(each);
    OnHost y({out}), hs({out}, squares), hw({r, out}, wa), hg({r, r}, gram), hb({out, r}, b);
    cpu::inverse_norms(y, hs, hw, hg, hb, 0.5);
    expect_close("inverse_norms on the CPU", y.values(), expected, 1e-9);
    OnDevice dy(dtype, {out}), ds(dtype, {out}, squares), dw(dtype, {r, out}, wa), dg(dtype, {r, r}, gram);
    OnDevice db(dtype, {out, r}, b);
    cuda::inverse_norms(dy, ds, dw, dg, db, 0.5);
    expect_close("inverse_norms", dy.read(), y.values(), dtype == DType::F64 ? 1e-12 : 1e-4);
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
