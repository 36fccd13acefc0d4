// lora_linear_group, lora_linear_group_backward
#include <memory>

#include "test/kernels/lora.cuh"

namespace lowrank::testing {
namespace {

// Layers on the x of the first, and their runs.
struct Group {
  Group(Fuzz& fuzz, DType type, int64_t m, int64_t k, std::vector<std::pair<int64_t, int64_t>> sizes, bool dropped,
        bool residual = false) {
    for (const auto& [n, r] : sizes) {
      auto layer = std::make_unique<Layer>(fuzz, type, Shape3{m, n, k, r}, dropped);
      if (residual && layers.empty()) layer->add_residual(fuzz);
      if (!layers.empty()) layer->x = layers[0]->x, layer->offset = layers[0]->offset;
      layer->dropout.site = uint32_t(5 + layers.size());
      layers.push_back(std::move(layer));
      runs.push_back(std::make_unique<Run>(*layers.back()));
    }
  }

  Group() = default;
  // The same layers, run anew.
  Group again() const {
    Group copy;
    for (const auto& layer : layers) {
      copy.layers.push_back(std::make_unique<Layer>(*layer));
      copy.runs.push_back(std::make_unique<Run>(*copy.layers.back()));
    }
    return copy;
  }

  LoraLayers views() const {
    LoraLayers all;
    for (size_t i = 0; i < runs.size(); ++i) {
      const Run& r = *runs[i];
      const Layer& l = *layers[i];
      all.layer[all.count++] = {r.y,  r.s,     r.w,       l.has_bias ? r.bias.view() : View{},
                                r.a,  r.b,     r.dy,      r.da,
                                r.db, l.scale, l.dropout, l.head_dim > 0};
    }
    return all;
  }
  Rope rope() const {  // of the first that is turned: they share it
    for (const auto& run : runs)
      if (run->l.head_dim) return run->rope();
    return {};
  }
  void run(bool exact) {
    forward(exact);
    backward(exact);
  }
  void forward(bool exact) { cuda::lora_linear_group(runs[0]->x, views(), Compute::F32, exact, rope()); }
  // With t the da are left to another call, `earlier` is what one left.
  void backward(bool exact, const View& t = {}, const LoraGradients& earlier = {}) {
    const Run& first = *runs[0];
    cuda::lora_linear_group_backward(first.dx, first.x, views(), Compute::F32, exact, first.so_far(), t, earlier);
  }
  OnDevice room_of_t() const {
    int64_t ranks = 0;
    for (const auto& layer : layers) ranks += (layer->r + 15) / 16 * 16;
    return OnDevice(DType::F32, {layers[0]->m, ranks});
  }
  LoraGradients left(const View& t) const {
    LoraGradients all;
    all.x = runs[0]->x, all.t = t;
    for (size_t i = 0; i < runs.size(); ++i) all.layer[all.count++] = {runs[i]->da, layers[i]->dropout};
    return all;
  }
  void check(bool exact) {
    run(exact);
    using Results = Expected::Results;
    Results sum, plain, bound;  // of dx
    const auto add = [](Values& all, const Values& more) {
      all.resize(more.size());
      for (size_t i = 0; i < more.size(); ++i) all[i] += more[i];
    };
    for (size_t i = 0; i < runs.size(); ++i) {
      Layer& l = *layers[i];
      l.exact = exact;
      const Expected expected(l);
      expected.check("s", &Results::s, runs[i]->s.read(), l.sums());
      expected.check("y", &Results::y, runs[i]->y.read(), l.type);
      expected.check("da", &Results::da, runs[i]->da.read(), l.factors);
      expected.check("db", &Results::db, runs[i]->db.read(), l.factors);
      add(sum.dx, expected.exact.dx), add(plain.dx, expected.plain.dx), add(bound.dx, expected.bound.dx);
    }
    const Layer& first = *layers[0];
    check_values(first, "dx of the group", runs[0]->dx.read(), first.type, rounded(plain.dx, first.type), sum.dx,
                 bound.dx);
  }

  std::vector<std::unique_ptr<Layer>> layers;
  std::vector<std::unique_ptr<Run>> runs;
};

}  // namespace

KERNEL_CASE(lora_linear_group_is_its_layers) {
  for (const DType type : {DType::F32, DType::F64, DType::BF16, DType::F16}) {
    const int64_t m = fuzz.pick<int64_t>({1, 17, 70}), k = fuzz.pick<int64_t>({7, 64, 72, 136});
    const auto size = [&] {
      return std::pair<int64_t, int64_t>(fuzz.pick<int64_t>({5, 24, 64}), fuzz.pick<int64_t>({1, 4, 8, 16, 24}));
    };
    std::vector<std::pair<int64_t, int64_t>> sizes = {size(), size()};
    if (fuzz.pick<bool>({false, true})) sizes.push_back(size());
    const bool dropped = fuzz.pick<bool>({true, true, false});
    Group group(fuzz, type, m, k, sizes, dropped, fuzz.pick<bool>({false, true}));
    if (fuzz.pick<bool>({true, false})) group.layers[0]->dropout.keep = 256;
    group.check(fuzz.pick<bool>({true, true, false}));
  }
}

// The masks and the order of sums are those of the layers alone.
KERNEL_CASE(lora_linear_group_has_the_bits_of_single_layers) {
  for (const DType type : {DType::F32, DType::BF16}) {
    Group group(fuzz, type, 40, 72, {{64, 8}, {24, 16}, {24, 8}}, true);
    group.run(true);
    for (const auto& layer : group.layers) {
      const Run& grouped = *group.runs[size_t(&layer - &group.layers[0])];
      Run alone(*layer);
      alone.forward();
      alone.backward();
      expect_same_bits("s", grouped.s, alone.s);
      expect_same_bits("y", grouped.y, alone.y);
      expect_same_bits("da", grouped.da, alone.da);
      expect_same_bits("db", grouped.db, alone.db);
    }
  }
}

// da of a group made beside the pass over dy of the next one, or alone, has the bits of one made at once.
KERNEL_CASE(lora_linear_group_leaves_da_to_a_later_call) {
  const DType type = fuzz.pick<DType>({DType::BF16, DType::F16});
  const bool exact = fuzz.pick<bool>({true, true, false});
  const int64_t r = fuzz.pick<int64_t>({8, 16, 24, 40});  // of the later: one pass over dy, or two past 32
  Group at_once(fuzz, type, fuzz.pick<int64_t>({33, 70}), 264, {{64, 16}, {24, 4}, {24, 24}}, true);
  Group later(fuzz, type, 40, 72, {{64, r}, {24, 12}}, fuzz.pick<bool>({false, true}));
  for (Group* each : {&at_once, &later}) each->run(exact);
  for (const bool alone : {false, true}) {
    Group first = at_once.again(), second = later.again();
    for (Group* each : {&first, &second}) each->forward(exact);
    const OnDevice t = first.room_of_t();
    first.backward(exact, t);
    if (alone) {
      cuda::lora_linear_group_backward({}, first.runs[0]->x, {}, Compute::F32, exact, {}, {}, first.left(t));
      second.backward(exact);
    } else second.backward(exact, {}, first.left(t));
    expect_same_bits("dx", first.runs[0]->dx, at_once.runs[0]->dx);
    expect_same_bits("dx of the later", second.runs[0]->dx, later.runs[0]->dx);
    for (size_t i = 0; i < first.runs.size(); ++i) {
      expect_same_bits(at_once.layers[i]->name("da"), first.runs[i]->da, at_once.runs[i]->da);
      expect_same_bits(at_once.layers[i]->name("db"), first.runs[i]->db, at_once.runs[i]->db);
    }
    for (size_t i = 0; i < second.runs.size(); ++i) {
      expect_same_bits(later.layers[i]->name("da of the later"), second.runs[i]->da, later.runs[i]->da);
      expect_same_bits(later.layers[i]->name("db of the later"), second.runs[i]->db, later.runs[i]->db);
    }
  }
}

// q and k are turned, with heads of one size, v isn't: each as if alone.
KERNEL_CASE(lora_linear_group_turns_some) {
  for (const DType type : {DType::F32, fuzz.pick<DType>({DType::BF16, DType::F16})}) {
    Group group(fuzz, type, 40, 72, {{128, 8}, {64, 16}, {64, 8}}, true);
    for (auto& layer : group.layers)
      if (layer->half) layer->factors = DType::F32;
    group.layers[0]->add_rope(fuzz, fuzz.pick<int64_t>({16, 64}));
    for (const size_t i : {1, 2}) {
      const Layer& first = *group.layers[0];
      Layer& layer = *group.layers[i];
      layer.rotary = first.rotary, layer.interleaved = first.interleaved;
      layer.table = first.table, layer.positions = first.positions;
      if (i == 1) layer.head_dim = first.head_dim;
    }
    for (size_t i = 0; i < 3; ++i) group.runs[i] = std::make_unique<Run>(*group.layers[i]);
    cuda::lora_linear_group(group.runs[0]->x, group.views(), Compute::F32, true, group.rope());
    for (size_t i = 0; i < 3; ++i) {
      Run alone(*group.layers[i]);
      alone.forward();
      expect_same_bits("y", group.runs[i]->y, alone.y);
    }
  }
}

KERNEL_CASE(lora_linear_group_of_no_rows) {
  Group group(fuzz, DType::BF16, 0, 16, {{24, 4}, {8, 8}}, true);
  group.run(true);
  for (const auto& run : group.runs)
    for (const double value : run->da.read()) expect(value == 0, "da of no rows is 0");
}

}  // namespace lowrank::testing
