// lora_linear, lora_linear_backward
#include "cuda/gemm/weights.cuh"
#include "test/kernels/lora.cuh"
#ifdef LOWRANK_EMULATOR
#include "test/emulator/emulator.h"
#endif

namespace lowrank::testing {
namespace {

void check_all(const Layer& l) {
  Run run(l);
  run.forward();
  run.backward();
  const Expected expected(l);
  using Results = Expected::Results;
  expected.check("s", &Results::s, run.s.read(), l.sums());
  expected.check("y", &Results::y, run.y.read(), l.type);
  expected.check("dx", &Results::dx, run.dx.read(), l.type);
  expected.check("da", &Results::da, run.da.read(), l.factors);
  expected.check("db", &Results::db, run.db.read(), l.factors);
}

// y as it is before it is turned.
Values unturned(Layer layer) {
  layer.head_dim = 0;
  Values y, s;
  layer.forward(y, s);
  return y;
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
      if (fuzz.pick<bool>({false, true})) layer.add_residual(fuzz);
      check_all(layer);
    }
}

// y turned: q and k of an attention.
KERNEL_CASE(lora_linear_turned) {
  for (const DType type : TYPES)
    for (const int64_t head_dim : {fuzz.pick<int64_t>({16, 64}), fuzz.pick<int64_t>({128, 80})}) {
      Layer layer(fuzz, type, {fuzz.between(1, 80), head_dim * fuzz.between(1, 2), 72, 8},
                  fuzz.pick<bool>({false, true}));
      layer.exact = fuzz.pick<bool>({false, true});
      layer.add_rope(fuzz, head_dim);
      Run run(layer);
      run.forward();
      Values y, s, plain_y, plain_s;
      layer.forward(y, s);
      layer.plain_forward(plain_y, plain_s);
      if (layer.exact) plain_y = rounded(layer.turned(rounded(unturned(layer), type)), type);
      Values bound = unturned(layer.of_magnitudes());
      for (double& each : bound) each *= 2 * largest(layer.table);
      if (!layer.half) expect_sums(layer.name("turned y"), run.y.read(), y, bound, type);
      else expect_as_good(layer.name("turned y"), run.y.read(), plain_y, y, type, 8e-6 * largest(bound));
    }
}

// The passes over x and dy, with and without masks, of each width of the rank: no bank conflicts.
KERNEL_CASE(lora_linear_without_bank_conflicts) {
#ifdef LOWRANK_EMULATOR
  for (const int64_t r : {8, 24, 40})
    for (const bool dropped : {false, true}) {
      const Layer layer(fuzz, fuzz.pick<DType>({DType::BF16, DType::F16}), {40, 72, 136, r}, dropped);
      Run run(layer);
      const auto before = emulator::counters;
      run.forward();
      run.backward();
      run.da.read();
      expect(emulator::counters.ldmatrix > before.ldmatrix, "adapters read by ldmatrix");
      expect(emulator::counters.conflicts == before.conflicts, layer.name("bank conflicts"));
    }
#endif
}

// Past the sizes of one block: several pieces of columns, of rows, of the rank.
KERNEL_CASE(lora_linear_of_many_blocks) {
  const DType type = fuzz.pick<DType>({DType::BF16, DType::F16});
  check_all(Layer(fuzz, type, {5, 24, 776, 8}, true));
  check_all(Layer(fuzz, type, {150, 296, 40, 20}, false));
  check_all(Layer(fuzz, type, {34, 40, 72, 200}, true));
  check_all(Layer(fuzz, DType::F32, {300, 72, 40, 33}, true));
}

// bf16 products beside f32 activations, and weights stored in another type than the activations have.
KERNEL_CASE(lora_linear_of_mixed_types) {
  for (const DType stored : {DType::F32, DType::BF16}) {
    Layer layer(fuzz, DType::F32, random_shape(fuzz), true);
    layer.w = rounded(layer.w, stored), layer.offset = 0;
    Run run(layer, stored);
    run.compute = fuzz.pick<Compute>({Compute::F32, Compute::BF16});
    run.forward();
    run.backward();
    Layer narrow = layer;
    if (run.compute == Compute::BF16) {
      narrow.x = rounded(layer.x, DType::BF16), narrow.w = rounded(layer.w, DType::BF16);
      narrow.dy = rounded(layer.dy, DType::BF16);
    }
    // Only the frozen product is rounded: the adapter's part comes from the operands as they are.
    const Expected expected(layer);
    Values y = expected.exact.y, dx = expected.exact.dx, ignored;
    for (Layer* each : {&layer, &narrow}) {
      Layer bare = *each;
      bare.b.assign(bare.b.size(), 0.0);
      Values base, of_s, base_dx;
      bare.forward(base, of_s);
      bare.backward(of_s, base_dx, ignored, ignored);
      const double sign = each == &layer ? -1 : 1;
      for (size_t i = 0; i < y.size(); ++i) y[i] += sign * base[i];
      for (size_t i = 0; i < dx.size(); ++i) dx[i] += sign * base_dx[i];
    }
    using Results = Expected::Results;
    expected.check("s", &Results::s, run.s.read(), DType::F32);
    expected.check("da", &Results::da, run.da.read(), DType::F32);
    expected.check("db", &Results::db, run.db.read(), DType::F32);
    // The adapter's part of these is split into two of bf16 where the frozen product is in bf16.
    const double roundings = run.compute == Compute::BF16 ? 8e-6 : 2e-7;
    expect_close(layer.name("y"), run.y.read(), y, 2e-6, roundings * largest(expected.bound.y));
    expect_close(layer.name("dx"), run.dx.read(), dx, 2e-6, roundings * largest(expected.bound.dx));
  }
  Layer layer(fuzz, DType::BF16, random_shape(fuzz), true);
  layer.w = rounded(layer.w, DType::BF16);
  Run run(layer, DType::F16);  // bf16 of these magnitudes fits into f16
  run.forward();
  Values y, s;
  layer.forward(y, s);
  expect_as_good(layer.name("y"), run.y.read(), rounded(y, DType::BF16), y, DType::BF16);
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
  if (fuzz.seed > 1) return;  // a measurement
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
