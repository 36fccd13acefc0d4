// lora_linear_rows, lora_linear_rows_backward
#include <memory>

#include "test/kernels/lora.cuh"

namespace lowrank::testing {
namespace {

struct Height {
  int64_t rows, rank;  // rank 0: no factors
};

// One layer's rows in groups: the whole on the device, and each group as a layer of its own, on which it is checked.
struct Rows {
  Rows(Fuzz& fuzz, DType type, int64_t n, int64_t k, const std::vector<Height>& heights, bool dropped)
      : base(fuzz, type, {rows_of(heights), n, k, 1}, dropped) {
    if (base.half) base.factors = DType::F32;
    int64_t begin = 0;
    for (const Height& height : heights) {
      auto layer =
          std::make_unique<Layer>(fuzz, type, Shape3{height.rows, n, k, std::max<int64_t>(1, height.rank)}, false);
      layer->factors = base.factors, layer->offset = base.offset;
      layer->w = base.w, layer->bias = base.bias, layer->has_bias = base.has_bias;
      layer->x = part(base.x, begin, height.rows, k), layer->dy = part(base.dy, begin, height.rows, n);
      layer->dropout = base.dropout, layer->dropout.row_offset += begin;
      layer->scale = fuzz.pick<double>({0.5, 1.5});
      if (height.rank == 0) {
        for (Values* each : {&layer->a, &layer->b})
          for (double& value : *each) value = 0;
      }
      groups.push_back({begin, height, std::move(layer)});
      runs.push_back(std::make_unique<Run>(*groups.back().layer));
      begin += height.rows;
    }
    whole = std::make_unique<Run>(base);
  }
  static int64_t rows_of(const std::vector<Height>& heights) {
    int64_t sum = 0;
    for (const Height& each : heights) sum += each.rows;
    return sum;
  }
  static Values part(const Values& all, int64_t begin, int64_t rows, int64_t width) {
    return Values(all.begin() + begin * width, all.begin() + (begin + rows) * width);
  }

  LoraRows call(bool exact) const {
    LoraRows op;
    op.x = whole->x, op.w = whole->w, op.y = whole->y, op.dx = whole->dx, op.dy = whole->dy;
    if (base.has_bias) op.bias = whole->bias;
    op.dropout = base.dropout, op.exact = exact;
    for (size_t i = 0; i < groups.size(); ++i) {
      LoraRows::Group& own = op.group[op.count++];
      own.begin = groups[i].begin, own.rows = groups[i].height.rows;
      if (groups[i].height.rank == 0) continue;
      const Run& r = *runs[i];
      own.a = r.a, own.b = r.b, own.s = r.s, own.da = r.da, own.db = r.db;
      own.scale = groups[i].layer->scale, own.dropout = groups[i].layer->dropout;
    }
    return op;
  }
  void check(bool exact) {
    const LoraRows op = call(exact);
    cuda::lora_linear_rows(op);
    cuda::lora_linear_rows_backward(op);
    const Values y = whole->y.read(), dx = whole->dx.read();
    using Results = Expected::Results;
    for (size_t i = 0; i < groups.size(); ++i) {
      Layer& l = *groups[i].layer;
      l.exact = exact;
      const Expected expected(l);
      expected.check("y of rows", &Results::y, part(y, groups[i].begin, l.m, l.n), l.type);
      expected.check("dx of rows", &Results::dx, part(dx, groups[i].begin, l.m, l.k), l.type);
      if (groups[i].height.rank == 0) continue;
      expected.check("s of rows", &Results::s, runs[i]->s.read(), l.sums());
      expected.check("da of rows", &Results::da, runs[i]->da.read(), l.factors);
      expected.check("db of rows", &Results::db, runs[i]->db.read(), l.factors);
    }
  }

  struct Group {
    int64_t begin;
    Height height;
    std::unique_ptr<Layer> layer;
  };
  Layer base;
  std::vector<Group> groups;
  std::vector<std::unique_ptr<Run>> runs;
  std::unique_ptr<Run> whole;
};

}  // namespace

KERNEL_CASE(lora_linear_rows_are_their_groups) {
  for (const DType type : {DType::F32, DType::F64, DType::BF16, DType::F16}) {
    std::vector<Height> heights;
    for (int i = int(fuzz.between(1, 4)); i >= 0; --i)
      heights.push_back({fuzz.pick<int64_t>({1, 5, 33, 70}), fuzz.pick<int64_t>({0, 1, 8, 16, 40})});
    Rows rows(fuzz, type, fuzz.pick<int64_t>({5, 64, 72}), fuzz.pick<int64_t>({7, 64, 136}), heights,
              fuzz.pick<bool>({true, true, false}));
    rows.check(fuzz.pick<bool>({true, true, false}));
  }
}

// One row each, as while decoding, and more groups than one launch takes.
KERNEL_CASE(lora_linear_rows_one_each) {
  std::vector<Height> heights;
  for (int i = 0; i < 14; ++i) heights.push_back({1, i % 5 == 3 ? 0 : 8});
  for (const DType type : {DType::F32, DType::BF16}) Rows(fuzz, type, 64, 64, heights, false).check(true);
}

KERNEL_CASE(lora_linear_rows_without_factors) {
  for (const DType type : {DType::F32, DType::BF16}) Rows(fuzz, type, 24, 40, {{3, 0}, {9, 0}}, true).check(true);
}

// What each group makes for itself has the bits that it has alone.
KERNEL_CASE(lora_linear_rows_have_the_bits_of_single_layers) {
  Rows rows(fuzz, DType::BF16, 64, 72, {{20, 8}, {40, 24}, {3, 8}}, true);
  const LoraRows op = rows.call(true);
  cuda::lora_linear_rows(op);
  cuda::lora_linear_rows_backward(op);
  for (size_t i = 0; i < rows.groups.size(); ++i) {
    Run alone(*rows.groups[i].layer);
    alone.forward();
    alone.backward();
    expect_same_bits("s", rows.runs[i]->s, alone.s);
    expect_same_bits("da", rows.runs[i]->da, alone.da);
    expect_same_bits("db", rows.runs[i]->db, alone.db);
  }
}

}  // namespace lowrank::testing
