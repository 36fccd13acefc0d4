#pragma once
// A layer with an adapter: random inputs, the specification's results, those of a plain implementation, and a run.
#include <algorithm>

#include "cpu/philox.h"
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {

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
    residual = Values(size_t(m * k), 0.0);
    a = rounded(fuzz.values(r * k, 0.2), factors), b = rounded(fuzz.values(n * r, 0.3), factors);
    dropout.keep = dropped ? int32_t(fuzz.between(100, 250)) : 256;
    dropout.site = 77, dropout.step = 5, dropout.seed = 0x123456789abcull, dropout.row_offset = fuzz.between(0, 1000);
  }

  // A gradient of x that dx is added to.
  void add_residual(Fuzz& fuzz) { has_residual = true, residual = rounded(fuzz.values(m * k), type); }

  // Turns y: heads of `head`, of which n is a multiple.
  void add_rope(Fuzz& fuzz, int64_t head) {
    head_dim = head, interleaved = fuzz.pick<bool>({false, true});
    rotary = fuzz.pick<bool>({true, true, false}) ? head / 2 * 2 : head / 4 * 2;
    table = rounded(fuzz.values(POSITIONS * rotary, 0.5), factors);
    for (int64_t i = 0; i < m; ++i) positions.push_back(int32_t(fuzz.between(0, POSITIONS - 1)));
  }
  Values turned(Values y) const {
    if (!head_dim) return y;
    OnHost rows({m, n}, std::move(y)), at({m}, positions), angles({POSITIONS, rotary}, table);
    cpu::rope(rows, View{}, rows, View{}, at, angles, head_dim, interleaved, false);
    return rows.values();
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
    OnHost at({m}, positions), angles({POSITIONS, rotary}, table);
    const Rope rope = head_dim ? Rope{at, angles, head_dim, interleaved} : Rope{};
    cpu::lora_linear(y, s, hx, hw, has_bias ? hb.view() : View{}, ha, hbb, scale, dropout, Compute::F32, true, rope);
    y_out = y.values(), s_out = s.values();
  }
  void backward(const Values& s, Values& dx_out, Values& da_out, Values& db_out) const {
    OnHost dx({m, k}), da({r, k}), db({n, r}), hdy({m, n}, dy), hx({m, k}, x), hw({n, k}, w), ha({r, k}, a),
        hb({n, r}, b), hs({m, r}, s), so_far({m, k}, residual);
    cpu::lora_linear_backward(dx, da, db, hdy, hx, hw, ha, hb, hs, scale, dropout, Compute::F32, true,
                              has_residual ? so_far.view() : View{});
    dx_out = dx.values(), da_out = da.values(), db_out = db.values();
  }

  // The layer whose every term counts: what its sums are bounded by, and its rounding errors go with.
  Layer of_magnitudes() const {
    Layer l = *this;
    for (Values* each : {&l.x, &l.w, &l.bias, &l.dy, &l.a, &l.b, &l.residual}) *each = magnitudes(std::move(*each));
    return l;
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
    y = rounded(turned(rounded(y, type)), type);
  }
  void plain_backward(const Values& s, Values& dx, Values& da, Values& db) const {
    const Values t = rounded(scaled(times(dy, rounded(b, type), m, r, n, false, false)), type);
    dx = times(dy, w, m, k, n, false, false);
    const Values update = dropped(times(t, rounded(a, type), m, k, r, false, false));
    for (size_t i = 0; i < dx.size(); ++i) dx[i] += update[i] + (has_residual ? residual[i] : 0);
    dx = rounded(dx, type);
    da = rounded(times(t, dropped(x), r, k, m, true, false), factors);
    db = rounded(times(dy, rounded(s, type), n, r, m, true, false), factors);
  }

  DType type, factors;
  int64_t m, n, k, r, offset;
  bool half, has_bias, has_residual = false, exact = true;
  double scale = 1.5;
  Dropout dropout;
  Values x, w, bias, dy, a, b, residual;
  static constexpr int64_t POSITIONS = 9;
  int64_t head_dim = 0, rotary = 0;
  bool interleaved = false;
  Values table;
  std::vector<int32_t> positions;
};

// The inputs and outputs on the device.
struct Run {
  explicit Run(const Layer& l, DType stored)
      : l(l), x(l.type, {l.m, l.k}, l.x, l.offset), w(stored, {l.n, l.k}, l.w, l.offset),
        bias(l.factors, {l.n}, l.bias, l.offset), dy(l.type, {l.m, l.n}, l.dy, l.offset),
        a(l.factors, {l.r, l.k}, l.a, l.offset), b(l.factors, {l.n, l.r}, l.b, l.offset),
        y(l.type, {l.m, l.n}, nullptr, l.offset), s(l.sums(), {l.m, l.r}), dx(l.type, {l.m, l.k}, nullptr, l.offset),
        da(l.factors, {l.r, l.k}, nullptr, l.offset), db(l.factors, {l.n, l.r}, nullptr, l.offset),
        residual(l.type, {l.m, l.k}, l.residual, l.offset),
        positions(DType::I32, {int64_t(l.positions.size())}, Values(l.positions.begin(), l.positions.end())),
        table(l.factors, {Layer::POSITIONS, l.rotary}, l.table) {}
  explicit Run(const Layer& l) : Run(l, l.type) {}
  void forward() {
    cuda::lora_linear(y, s, x, w, l.has_bias ? bias.view() : View{}, a, b, l.scale, l.dropout, compute, l.exact,
                      rope());
  }
  Rope rope() const { return l.head_dim ? Rope{positions, table, l.head_dim, l.interleaved} : Rope{}; }
  void backward(bool wants_dx = true, bool wants_da = true, bool wants_db = true) {
    const View none;
    cuda::lora_linear_backward(wants_dx ? dx.view() : none, wants_da ? da.view() : none, wants_db ? db.view() : none,
                               dy, x, w, a, b, s, l.scale, l.dropout, compute, l.exact, so_far());
  }

  View so_far() const { return l.has_residual ? residual.view() : View{}; }

  const Layer& l;
  Compute compute = Compute::F32;
  OnDevice x, w, bias, dy, a, b, y, s, dx, da, db, residual, positions, table;
};

// Root of the mean square of the error, relative to that of what is expected.
inline double error_of(const Values& got, const Values& expected) {
  double error = 0, all = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += (got[i] - expected[i]) * (got[i] - expected[i]);
    all += expected[i] * expected[i];
  }
  return std::sqrt(error / all);
}

// `bound`: of the sums that `exact` is.
inline void check_values(const Layer& l, const char* what, const Values& got, DType dtype, const Values& plain,
                         const Values& exact, const Values& bound) {
  if (l.type == DType::F32 || l.type == DType::F64) return expect_sums(l.name(what), got, exact, bound, l.type);
  // Operands in two parts of bf16 leave out products of two low parts: 2^-18 of each, twice where results feed another.
  const double split = 8e-6 * largest(bound);
  if (dtype != DType::F32 && l.exact)
    return expect_as_good(l.name(what), got, rounded(exact, dtype), exact, dtype, split);
  if (dtype != DType::F32) return expect_as_good(l.name(what), got, plain, exact, dtype);
  if (l.exact) return expect_close(l.name(what), got, exact, 1e-5, split);
  Values error = plain;
  for (size_t i = 0; i < error.size(); ++i) error[i] -= exact[i];
  // Where nothing was rounded (factors of the same type), a plain product may still be no better than an exact one.
  expect_close(l.name(what), got, exact, 3e-5, std::max(2 * largest(error), split));
}

// Results of a layer, and of its plain implementation, and the bounds of their sums.
struct Expected {
  explicit Expected(const Layer& l) : l(l) {
    l.forward(exact.y, exact.s);
    l.plain_forward(plain.y, plain.s);
    l.backward(exact.s, exact.dx, exact.da, exact.db);
    l.plain_backward(plain.s, plain.dx, plain.da, plain.db);
    const Layer all = l.of_magnitudes();
    all.forward(bound.y, bound.s);
    all.backward(bound.s, bound.dx, bound.da, bound.db);
  }
  struct Results {
    Values y, s, dx, da, db;
  };
  void check(const char* what, Values Results::*which, const Values& got, DType dtype) const {
    check_values(l, what, got, dtype, plain.*which, exact.*which, bound.*which);
  }

  const Layer& l;
  Results exact, plain, bound;
};

}  // namespace lowrank::testing
