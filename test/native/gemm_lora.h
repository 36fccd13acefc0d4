// The part of gemm_test.cpp that tests products with low-rank adapters.
#pragma once

// f64 copies: the specification in f64 wants its activations and adapters as f64.
struct Wide : Matrix {
  explicit Wide(const Matrix& m) : Matrix(m.view.dims[0], m.view.dims[1], DType::F64) {
    for (int64_t i = 0; i < view.size(); ++i) view.as<double>()[i] = m.view.as<float>()[i];
  }
};

// What is allowed of s, da and db: on tiles they are sums of products of two parts of bf16, 16 bits of mantissa.
double thin_error(const std::string& isa, Compute compute) {
  return isa == "amx" && compute == Compute::BF16 ? 2e-5 : 1e-6;
}

void test_lora(int64_t m, int64_t n, int64_t k, int64_t r, DType w_type, Compute compute, int keep, int wanted = 7) {
  Matrix x(m, k), w(n, k, w_type), bias(1, n), a(r, k), b(n, r), dy(m, n);
  x.random(), w.random(0.1f), bias.random(), a.random(), b.random(), dy.random();
  Wide x64(x), bias64(bias), a64(a), b64(b), dy64(dy);
  Dropout dropout;
  dropout.keep = keep, dropout.site = 0x9ABCDEF0, dropout.step = 5, dropout.seed = 0x123456789ABCDEFull;
  dropout.row_offset = 1000;
  const double scale = 1.7;
  char text[160];
  std::snprintf(text, sizeof text, " lora %ldx%ldx%ld r %ld w %s compute %s keep %d wanted %d ", long(m), long(n),
                long(k), long(r), w_type == DType::BF16 ? "bf16" : "f32", name_of(compute), keep, wanted);
  {
    Matrix y(m, n), s(m, r), py(m, n), ps(m, r), wy(m, n, DType::F64), ws(m, r, DType::F64);
    cpu::spec::lora_linear<double>(wy.view, ws.view, x64.view, w.view, bias64.view, a64.view, b64.view, scale, dropout,
                                   Compute::F32);
    cpu::spec::lora_linear<float>(py.view, ps.view, x.view, w.view, bias.view, a.view, b.view, scale, dropout, compute);
    everywhere(
        {y.view, s.view},
        [&] {
          cpu::lora_linear(y.view, s.view, x.view, w.view, bias.view, a.view, b.view, scale, dropout, compute, true,
                           Rope{});
        },
        [&](const std::string& isa) {
          close(y.view, py.view, wy.view, isa + text + "y");
          close(s.view, ps.view, ws.view, isa + text + "s", thin_error(isa, compute));
        });
  }
  Matrix s(m, r);
  s.random();
  Wide s64(s);
  Matrix dx(m, k), da(r, k), db(n, r), pdx(m, k), pda(r, k), pdb(n, r);
  Matrix wdx(m, k, DType::F64), wda(r, k, DType::F64), wdb(n, r, DType::F64);
  cpu::spec::lora_linear_backward<double>(wdx.view, wda.view, wdb.view, dy64.view, x64.view, w.view, a64.view, b64.view,
                                          s64.view, scale, dropout, Compute::F32);
  cpu::spec::lora_linear_backward<float>(pdx.view, pda.view, pdb.view, dy.view, x.view, w.view, a.view, b.view, s.view,
                                         scale, dropout, compute);
  const View none;
  const View odx = wanted & 1 ? dx.view : none, oda = wanted & 2 ? da.view : none, odb = wanted & 4 ? db.view : none;
  everywhere(
      {odx, oda, odb},
      [&] {
        cpu::lora_linear_backward(odx, oda, odb, dy.view, oda ? x.view : none, w.view, a.view, b.view,
                                  odb ? s.view : none, scale, dropout, compute, true, View{});
      },
      [&](const std::string& isa) {
        if (odx) close(odx, pdx.view, wdx.view, isa + text + "dx");
        if (oda) close(oda, pda.view, wda.view, isa + text + "da", thin_error(isa, compute));
        if (odb) close(odb, pdb.view, wdb.view, isa + text + "db", thin_error(isa, compute));
      });
}

// x and dy in bf16 have no low part, which is left out: the bits are those of their f32 copies.
void test_stored(int64_t m, int64_t n, int64_t k, int64_t r, int keep) {
  Matrix x(m, k, DType::BF16), dy(m, n, DType::BF16), w(n, k, DType::BF16), a(r, k), b(n, r), wide_x(m, k),
      wide_dy(m, n);
  x.random(), dy.random(), w.random(0.1f), a.random(), b.random();
  cpu::copy(wide_x.view, x.view), cpu::copy(wide_dy.view, dy.view);
  Dropout dropout;
  dropout.keep = keep, dropout.site = 3, dropout.seed = 5;
  struct Results {
    Matrix y, s, dx, da, db;
  } half = {{m, n}, {m, r}, {m, k}, {r, k}, {n, r}}, full = {{m, n}, {m, r}, {m, k}, {r, k}, {n, r}};
  const auto run = [&](Results& to, const View& x, const View& dy) {
    cpu::lora_linear(to.y.view, to.s.view, x, w.view, View{}, a.view, b.view, 2, dropout, Compute::BF16, true, Rope{});
    cpu::lora_linear_backward(to.dx.view, to.da.view, to.db.view, dy, x, w.view, a.view, b.view, to.s.view, 2, dropout,
                              Compute::BF16, true, View{});
  };
  const auto same = [&](const View& got, const View& want, const std::string& what) {
    expect(std::memcmp(got.data, want.data, size_t(4 * got.size())) == 0,
           what + " of bf16 has other bits than of its f32 copy, " + std::to_string(m) + "x" + std::to_string(n) + "x" +
               std::to_string(k) + " r " + std::to_string(r) + " keep " + std::to_string(keep));
  };
  everywhere(
      {half.y.view, half.s.view, half.dx.view, half.da.view, half.db.view}, [&] { run(half, x.view, dy.view); },
      [&](const std::string& isa) {
        run(full, wide_x.view, wide_dy.view);
        same(half.y.view, full.y.view, isa + ": y"), same(half.s.view, full.s.view, isa + ": s");
        same(half.dx.view, full.dx.view, isa + ": dx");
        same(half.da.view, full.da.view, isa + ": da"), same(half.db.view, full.db.view, isa + ": db");
      });
}

// A few rows of x with weights that are stored in any form, with and without an adapter; each row has the bits that it
// has alone.
void test_few_rows(int64_t m, int64_t n, int64_t k, int64_t r, DType w_type, Compute compute) {
  Matrix x(m, k), w(n, k), bias(1, n), a(r, k), b(n, r), y(m, n), s(m, r), py(m, n), ps(m, r);
  Matrix wy(m, n, DType::F64), ws(m, r, DType::F64), one(1, n), one_s(1, r);
  x.random(), w.random(0.1f), bias.random(), a.random(), b.random();
  Guarded codes(is_quantized(w_type) ? quantized_layout(w_type, n, k).bytes : size_t(n * k * 4), true);
  View stored = w.view;
  stored.data = codes.data, stored.dtype = w_type;
  if (is_quantized(w_type)) cpu::quantize(stored, w.view);
  else cpu::copy(stored, w.view);
  Wide x64(x), bias64(bias), a64(a), b64(b);
  const double scale = 1.7;
  cpu::spec::lora_linear<double>(wy.view, ws.view, x64.view, stored, bias64.view, a64.view, b64.view, scale, Dropout(),
                                 Compute::F32);
  cpu::spec::lora_linear<float>(py.view, ps.view, x.view, stored, bias.view, a.view, b.view, scale, Dropout(), compute);
  const std::string text = " few rows " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) +
                           " r " + std::to_string(r) + " w " + name_of(w_type) + " compute " + name_of(compute);
  const auto run = [&](const View& y, const View& s, const View& x) {
    cpu::lora_linear(y, s, x, stored, bias.view, a.view, b.view, scale, Dropout(), compute, true, Rope{});
  };
  everywhere(
      {y.view, s.view}, [&] { run(y.view, s.view, x.view); },
      [&](const std::string& isa) {
        close(y.view, py.view, wy.view, isa + text);
        close(s.view, ps.view, ws.view, isa + text + " s");
        View last = x.view;
        last.data = x.view.as<float>() + (m - 1) * k, last.dims[0] = 1;
        run(one.view, one_s.view, last);
        expect(std::memcmp(one.view.data, y.view.as<float>() + (m - 1) * n, size_t(n) * 4) == 0,
               isa + text + ": a row's bits depend on the others");
      });
}
