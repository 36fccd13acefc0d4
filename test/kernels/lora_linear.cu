// lora_linear, lora_linear_backward
#include <memory>

#include "cpu/philox.h"
#include "cuda/gemm/weights.cuh"
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

struct Shape3 {
  int64_t m, n, k, r;
};

// Random inputs of one layer, on host and device, and what the specification makes of them.
struct Layer {
  Layer(Fuzz& fuzz, DType type, Shape3 shape, bool dropped)
      : type(type), m(shape.m), n(shape.n), k(shape.k), r(shape.r) {
    offset = fuzz.pick<int64_t>({0, 0, 1, 3});
    half = type == DType::BF16 || type == DType::F16;
    factors = half ? fuzz.pick<DType>({DType::F32, DType::F32, type}) : type;
    has_bias = fuzz.pick<bool>({false, true});
    x = rounded(fuzz.values(m * k), type), w = rounded(fuzz.values(n * k, 0.2), type);
    bias = rounded(fuzz.values(n), factors), dy = rounded(fuzz.values(m * n), type);
    a = rounded(fuzz.values(r * k, 0.2), factors), b = rounded(fuzz.values(n * r, 0.3), factors);
    dropout.keep = dropped ? int32_t(fuzz.between(100, 250)) : 256;
    dropout.site = 77, dropout.step = 5, dropout.seed = 0x123456789abcull, dropout.row_offset = fuzz.between(0, 1000);
  }

  std::string name(const char* what) const {
    return std::string(what) + " of " + name_of(type) + (exact ? " exact " : " plain ") + std::to_string(m) + " x " +
           std::to_string(n) + " x " + std::to_string(k) + ", r " + std::to_string(r) + ", keep " +
           std::to_string(dropout.keep) + ", offset " + std::to_string(offset) + ", factors " + name_of(factors);
  }
  DType sums() const { return type == DType::F64 ? DType::F64 : DType::F32; }

  // The specification.
  void forward(Values& y_out, Values& s_out) const {
    OnHost y({m, n}), s({m, r}), hx({m, k}, x), hw({n, k}, w), hb({n}, bias), ha({r, k}, a), hbb({n, r}, b);
    cpu::lora_linear(y, s, hx, hw, has_bias ? hb.view() : View{}, ha, hbb, scale, dropout, Compute::F32, true);
    y_out = y.values(), s_out = s.values();
  }
  void backward(const Values& s, Values& dx_out, Values& da_out, Values& db_out) const {
    OnHost dx({m, k}), da({r, k}), db({n, r}), hdy({m, n}, dy), hx({m, k}, x), hw({n, k}, w), ha({r, k}, a),
        hb({n, r}, b), hs({m, r}, s);
    cpu::lora_linear_backward(dx, da, db, hdy, hx, hw, ha, hb, hs, scale, dropout, Compute::F32, true);
    dx_out = dx.values(), da_out = da.values(), db_out = db.values();
  }

  // The same where everything that tensor cores read is rounded to the type of the activations.
  Values times(const Values& p, const Values& q, int64_t rows, int64_t columns, int64_t inner, bool p_t,
               bool q_t) const {
    Values out(size_t(rows * columns), 0.0);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        for (int64_t l = 0; l < inner; ++l)
          out[size_t(i * columns + j)] +=
              p[size_t(p_t ? l * rows + i : i * inner + l)] * q[size_t(q_t ? j * inner + l : l * columns + j)];
    return out;
  }
  Values dropped(Values z) const {
    if (!dropout.active()) return z;
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < k; ++j)
        z[size_t(i * k + j)] *=
            cpu::dropout_byte(dropout, uint64_t(i + dropout.row_offset), j) < dropout.keep ? dropout.multiplier() : 0;
    return z;
  }
  Values scaled(Values z) const {
    for (double& each : z) each *= scale;
    return z;
  }
  void plain_forward(Values& y, Values& s) const {
    s = scaled(times(dropped(x), rounded(a, type), m, r, k, false, true));
    y = times(x, w, m, n, k, false, true);
    const Values update = times(rounded(s, type), rounded(b, type), m, n, r, false, true);
    for (size_t i = 0; i < y.size(); ++i) y[i] += update[i] + (has_bias ? bias[i % size_t(n)] : 0);
    y = rounded(y, type);
  }
  void plain_backward(const Values& s, Values& dx, Values& da, Values& db) const {
    const Values t = rounded(scaled(times(dy, rounded(b, type), m, r, n, false, false)), type);
    dx = times(dy, w, m, k, n, false, false);
    const Values update = dropped(times(t, rounded(a, type), m, k, r, false, false));
    for (size_t i = 0; i < dx.size(); ++i) dx[i] += update[i];
    dx = rounded(dx, type);
    da = rounded(times(t, dropped(x), r, k, m, true, false), factors);
    db = rounded(times(dy, rounded(s, type), n, r, m, true, false), factors);
  }

  DType type, factors;
  int64_t m, n, k, r, offset;
  bool half, has_bias, exact = true;
  double scale = 1.5;
  Dropout dropout;
  Values x, w, bias, dy, a, b;
};

// The inputs and outputs on the device.
struct Run {
  explicit Run(const Layer& l)
      : l(l), x(l.type, {l.m, l.k}, l.x, l.offset), w(l.type, {l.n, l.k}, l.w, l.offset),
        bias(l.factors, {l.n}, l.bias, l.offset), dy(l.type, {l.m, l.n}, l.dy, l.offset),
        a(l.factors, {l.r, l.k}, l.a, l.offset), b(l.factors, {l.n, l.r}, l.b, l.offset),
        y(l.type, {l.m, l.n}, nullptr, l.offset), s(l.sums(), {l.m, l.r}), dx(l.type, {l.m, l.k}, nullptr, l.offset),
        da(l.factors, {l.r, l.k}, nullptr, l.offset), db(l.factors, {l.n, l.r}, nullptr, l.offset) {}
  void forward() {
    cuda::lora_linear(y, s, x, w, l.has_bias ? bias.view() : View{}, a, b, l.scale, l.dropout, Compute::F32, l.exact);
  }
  void backward(bool wants_dx = true, bool wants_da = true, bool wants_db = true) {
    const View none;
    cuda::lora_linear_backward(wants_dx ? dx.view() : none, wants_da ? da.view() : none, wants_db ? db.view() : none,
                               dy, x, w, a, b, s, l.scale, l.dropout, Compute::F32, l.exact);
  }

  const Layer& l;
  OnDevice x, w, bias, dy, a, b, y, s, dx, da, db;
};

double largest(const Values& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, std::fabs(value));
  return most;
}

// Root of the mean square of the error, relative to that of what is expected.
double error_of(const Values& got, const Values& expected) {
  double error = 0, all = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += (got[i] - expected[i]) * (got[i] - expected[i]);
    all += expected[i] * expected[i];
  }
  return std::sqrt(error / all);
}

void check_one(const Layer& l, const char* what, const Values& got, DType dtype, const Values& plain,
               const Values& expected) {
  if (l.type == DType::F64) return expect_close(l.name(what), got, expected, 1e-12, 1e-13);
  if (l.type == DType::F32) return expect_close(l.name(what), got, expected, 2e-6, 1e-7);
  if (dtype == DType::F32) {
    Values error = plain;
    for (size_t i = 0; i < error.size(); ++i) error[i] -= expected[i];
    return expect_close(l.name(what), got, expected, 3e-5, l.exact ? 1e-6 : 2 * largest(error));
  }
  expect_as_good(l.name(what), got, l.exact ? rounded(expected, dtype) : plain, expected, dtype);
}

void check_all(const Layer& l) {
  Run run(l);
  run.forward();
  Values y, s, dx, da, db, plain_y, plain_s, plain_dx, plain_da, plain_db;
  l.forward(y, s);
  const Values got_s = run.s.read();
  l.plain_forward(plain_y, plain_s);
  l.plain_backward(s, plain_dx, plain_da, plain_db);
  check_one(l, "s", got_s, l.sums(), plain_s, s);
  check_one(l, "y", run.y.read(), l.type, plain_y, y);
  l.backward(got_s, dx, da, db);
  run.backward();
  check_one(l, "dx", run.dx.read(), l.type, plain_dx, dx);
  check_one(l, "da", run.da.read(), l.factors, plain_da, da);
  check_one(l, "db", run.db.read(), l.factors, plain_db, db);
}

Shape3 random_shape(Fuzz& fuzz) {
  const int64_t m = fuzz.pick<int64_t>({1, 2, 17, 64, 100, 129}), r = fuzz.pick<int64_t>({1, 3, 4, 8, 12, 16, 40, 64});
  const auto width = [&] { return fuzz.pick<int64_t>({1, 7, 8, 24, 63, 64, 72, 130}); };
  const int64_t n = width();
  return {m, n, width(), r};
}

constexpr DType TYPES[] = {DType::F32, DType::F64, DType::BF16, DType::F16};

}  // namespace

KERNEL_CASE(lora_linear_of_any_shape) {
  for (const DType type : TYPES)
    for (const bool dropped : {false, true}) {
      Layer layer(fuzz, type, random_shape(fuzz), dropped);
      layer.exact = fuzz.pick<bool>({true, true, false});
      check_all(layer);
    }
}

// Past the sizes of one block: several pieces of columns, of rows, of the rank.
KERNEL_CASE(lora_linear_of_many_blocks) {
  const DType type = fuzz.pick<DType>({DType::BF16, DType::F16});
  check_all(Layer(fuzz, type, {5, 24, 776, 8}, true));
  check_all(Layer(fuzz, type, {150, 296, 40, 20}, false));
  check_all(Layer(fuzz, type, {34, 40, 72, 200}, true));
  check_all(Layer(fuzz, DType::F32, {300, 72, 40, 33}, true));
}

KERNEL_CASE(lora_linear_of_no_rows) {
  for (const DType type : TYPES) {
    const Layer layer(fuzz, type, {0, 24, 16, 4}, true);
    Run run(layer);
    run.forward();
    run.backward();
    expect(run.y.read().empty() && run.dx.read().empty(), "no rows");
    for (const double value : run.da.read()) expect(value == 0, "da of no rows is 0");
    for (const double value : run.db.read()) expect(value == 0, "db of no rows is 0");
  }
}

KERNEL_CASE(lora_linear_same_bits_twice) {
  for (const DType type : TYPES) {
    const Layer layer(fuzz, type, {129, 72, 136, 12}, true);
    Run one(layer), two(layer);
    for (Run* run : {&one, &two}) {
      run->forward();
      run->backward();
    }
    expect_same_bits("y", two.y, one.y);
    expect_same_bits("s", two.s, one.s);
    expect_same_bits("dx", two.dx, one.dx);
    expect_same_bits("da", two.da, one.da);
    expect_same_bits("db", two.db, one.db);
  }
}

KERNEL_CASE(lora_linear_skips_what_nobody_wants) {
  for (const DType type : {DType::F32, DType::BF16}) {
    const Layer layer(fuzz, type, {40, 64, 72, 8}, true);
    Run all(layer);
    all.forward();
    all.backward();
    for (int wants = 0; wants < 8; ++wants) {
      Run some(layer);
      some.forward();
      some.backward(wants & 1, wants & 2, wants & 4);
      if (wants & 1) expect_same_bits("dx alone", some.dx, all.dx);
      if (wants & 2) expect_same_bits("da alone", some.da, all.da);
      if (wants & 4) expect_same_bits("db alone", some.db, all.db);
    }
  }
}

// Before its first step an adapter has b = 0, and changes nothing.
KERNEL_CASE(lora_linear_of_zero_b_is_the_frozen_layer) {
  for (const DType type : TYPES) {
    Layer layer(fuzz, type, {33, 72, 64, 8}, true);
    layer.b.assign(layer.b.size(), 0.0);
    Run run(layer);
    run.forward();
    const OnDevice y(type, {layer.m, layer.n}, nullptr, layer.offset);
    cuda::gemm::Product p;
    p.type = type;
    p.m = layer.m, p.n = layer.n;
    p.segments = 1;
    p.segment[0] = {layer.k, {run.x.view().data, layer.k, true}, {run.w.view().data, layer.k, true}};
    if (layer.has_bias) p.bias = run.bias;
    p.y = y;
    cuda::gemm::multiply(p);
    expect_same_bits(layer.name("y"), run.y, y);
  }
}

KERNEL_CASE(lora_linear_without_dropout_is_keep_256) {
  const Layer layer(fuzz, DType::BF16, {40, 64, 72, 8}, false);
  Run run(layer), other(layer);
  Layer none = layer;
  none.dropout = Dropout{};
  Run bare(none);
  for (Run* each : {&run, &bare}) {
    each->forward();
    each->backward();
  }
  expect_same_bits("y", run.y, bare.y);
  expect_same_bits("dx", run.dx, bare.dx);
  expect_same_bits("da", run.da, bare.da);
}

// As good as weights with the update added to them.
KERNEL_CASE(lora_linear_is_as_good_as_merged) {
  for (const DType type : {DType::BF16, DType::F16}) {
    const Layer layer(fuzz, type, {40, 72, 136, 8}, false);
    Run run(layer);
    run.forward();
    Values y, s, merged = layer.w;
    layer.forward(y, s);
    const Values update = layer.times(layer.b, layer.a, layer.n, layer.k, layer.r, false, false);
    for (size_t i = 0; i < merged.size(); ++i) merged[i] += layer.scale * update[i];
    Values plain = layer.times(layer.x, rounded(merged, type), layer.m, layer.n, layer.k, false, true);
    for (size_t i = 0; layer.has_bias && i < plain.size(); ++i) plain[i] += layer.bias[i % size_t(layer.n)];
    expect_as_good(layer.name("y"), run.y.read(), rounded(plain, type), y, type);
  }
}

// What `exact` buys, against PEFT, whose adapter is f32 beside a layer of half precision: it rounds y once for the
// frozen layer and once for the sum. docs/exact-adapters.md has the table that LOWRANK_REPORT=1 prints.
KERNEL_CASE(lora_linear_exact_is_as_accurate_as_f32) {
  for (const DType type : {DType::BF16, DType::F16}) {
    Layer layer(fuzz, type, {64, 96, 768, 16}, true);
    layer.factors = DType::F32, layer.has_bias = false;
    layer.a = rounded(fuzz.values(layer.r * layer.k, 0.03), DType::F32);
    layer.b = rounded(fuzz.values(layer.n * layer.r, 0.003), DType::F32);
    layer.dy = rounded(fuzz.values(layer.m * layer.n, 1e-3), type);
    Values y, s, dx, da, db;
    layer.forward(y, s);
    layer.backward(s, dx, da, db);
    Values peft = rounded(layer.times(layer.x, layer.w, layer.m, layer.n, layer.k, false, true), type);
    const Values update = layer.times(s, layer.b, layer.m, layer.n, layer.r, false, true);
    for (size_t i = 0; i < peft.size(); ++i) peft[i] = rounded(peft[i] + update[i], type);
    double errors[2][5];
    for (const bool exact : {false, true}) {
      layer.exact = exact;
      Run run(layer);
      run.forward();
      run.backward();
      const double found[] = {error_of(run.s.read(), s), error_of(run.y.read(), y), error_of(run.dx.read(), dx),
                              error_of(run.da.read(), da), error_of(run.db.read(), db)};
      std::copy(found, found + 5, errors[exact]);
      if (std::getenv("LOWRANK_REPORT"))
        std::printf("%s %s: s %.1e, y %.1e (PEFT %.1e), dx %.1e, da %.1e, db %.1e\n", name_of(type),
                    exact ? "exact" : "plain", found[0], found[1], error_of(peft, y), found[2], found[3], found[4]);
    }
    for (const int i : {0, 3, 4}) expect(errors[1][i] < 1e-5, layer.name("an exact adapter has f32's accuracy"));
    expect(errors[1][1] < error_of(peft, y), layer.name("y is rounded once"));
  }
}

// The mask itself, in s and in dx, for every dtype.
KERNEL_CASE(lora_linear_masks_like_the_cpu) {
  for (const DType type : TYPES) {
    Layer layer(fuzz, type, {37, 8, 72, 72}, true);
    layer.scale = 1;
    layer.x.assign(layer.x.size(), 1.0);
    layer.a.assign(layer.a.size(), 0.0);
    for (int64_t j = 0; j < layer.r; ++j) layer.a[size_t(j * layer.k + j)] = 1;
    layer.b.assign(layer.b.size(), 1.0), layer.dy.assign(layer.dy.size(), 1.0), layer.w.assign(layer.w.size(), 0.0);
    Run run(layer);
    run.forward();
    run.backward();
    const Values s = run.s.read(), dx = run.dx.read(), mask = layer.dropped(layer.x);
    for (size_t i = 0; i < mask.size(); ++i) {
      expect((s[i] != 0) == (mask[i] != 0), layer.name("s keeps what the CPU keeps"));
      expect((dx[i] != 0) == (mask[i] != 0), layer.name("dx keeps what the CPU keeps"));
    }
  }
}

}  // namespace lowrank::testing
