// y = sum of a b^T over segments and slabs + bias + residual, for bf16 and f16 on Hopper: TMA and wgmma.
//
// One persistent block a multiprocessor, which works off tiles of y. A producer thread loads both operands by TMA into
// a ring of stages in shared memory, always a few ahead, across tiles too; two consumers, warpgroups of 64 rows, issue
// wgmma on them and write y. An mbarrier a stage says that it is full, another that it is empty. In clusters of two
// blocks each loads half of the columns' operand for both (multicast), which halves its traffic from L2. Tiles are
// ordered in bands that keep what is read together in L2.
//
// Segments and slabs are parts of one K: each has its own tensor maps, out of whose bounds TMA fills in zeros, so
// ragged edges and low ranks are ordinary stages with fewer k-steps. Parts with dropout come first; each is summed up
// apart in chunks of 64 columns, masked in registers by regenerated bits (one Philox call a row and chunk), then added.
//
// Passes: operands from HBM once, if a band fits L2; y written once. Accumulation in f32, one rounding. Bound by tensor
// cores from K of about 1k up; the target is 80% of their dense peak for 4096^3 and above.

#include "cuda/gemm/hopper.h"
#include "cuda/gemm/hopper_kernel.cuh"

namespace lowrank::cuda::gemm {
namespace {

using namespace sm90;

// Coordinates of TMA are 32-bit, and boxes may begin up to a tile past the edge.
constexpr int64_t MOST = INT32_MAX - 512;

bool suits_tma(const Operand& x, int64_t rows, int64_t k) {
  const int64_t bytes = x.leading * 2;
  return reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && bytes % 16 == 0 && bytes > 0 && bytes < int64_t(1) << 40 &&
         x.leading >= (x.along_k ? k : rows);
}

// What segments and slabs have in common.
struct Part {
  int64_t k;
  const Operand &a, &b;
};

// Calls f(Part, dropout or null) in the order of Plan; parts without k are left out.
template <typename F>
void each_part(const Product& p, F&& f) {
  for (const bool masked : {true, false}) {
    for (int i = 0; !masked && i < p.segments; ++i)
      if (p.segment[i].k > 0) f(Part{p.segment[i].k, p.segment[i].a, p.segment[i].b}, nullptr);
    for (int i = 0; i < p.slabs; ++i)
      if (p.slab[i].r > 0 && p.slab[i].dropout.active() == masked)
        f(Part{p.slab[i].r, p.slab[i].a, p.slab[i].b}, &p.slab[i].dropout);
  }
}

// The orientation is part of the kernel: that of the first part.
Part first_part(const Product& p) {
  static constexpr Operand none;
  return p.segments ? Part{p.segment[0].k, p.segment[0].a, p.segment[0].b}
         : p.slabs  ? Part{p.slab[0].r, p.slab[0].a, p.slab[0].b}
                    : Part{0, none, none};
}

template <typename T>
TensorMap operand_map(const Operand& x, int64_t rows, int64_t k) {
  const auto* data = static_cast<const T*>(x.data);
  const uint64_t stride = uint64_t(x.leading) * sizeof(T);
  if (x.along_k) return tensor_map(data, {{uint64_t(k), uint64_t(rows)}, {stride}, {DEPTH, SIDE}, 128});
  return tensor_map(data, {{uint64_t(rows), uint64_t(k)}, {stride}, {64, DEPTH}, 128});
}

template <typename Y>
void plan_output(Plan& plan, const View& y) {
  const uint64_t line = uint64_t(plan.n) * sizeof(Y);
  plan.stores_boxes = aligned(y) && line % 16 == 0;
  if (!plan.stores_boxes) return;
  plan.y = tensor_map(y.as<Y>(), {{uint64_t(plan.n), uint64_t(plan.m)}, {line}, {PANEL_COLUMNS<Y>, 64}, 128});
}

template <typename T>
Plan plan_of(const Product& p, int span) {
  Plan plan = {};
  each_part(p, [&](const Part& part, const Dropout* dropout) {
    plan.a[plan.parts] = operand_map<T>(part.a, p.m, part.k);
    plan.b[plan.parts] = operand_map<T>(part.b, p.n, part.k);
    plan.k[plan.parts++] = int(part.k);
    if (dropout && dropout->active()) plan.dropout[plan.masked++] = *dropout;
    else plan.whole_stages += int(part.k / DEPTH);
  });
  plan.m = int(p.m), plan.n = int(p.n);
  plan.tile_rows = int(ceil_div(p.m, span)), plan.tile_columns = int(ceil_div(p.n, span));
  plan.bias = p.bias.data, plan.residual = p.residual.data, plan.out = p.y.data;
  plan.bias_f32 = p.bias.dtype == DType::F32, plan.out_f32 = p.y.dtype == DType::F32;
  if (plan.out_f32) plan_output<float>(plan, p.y);
  else plan_output<T>(plan, p.y);
  return plan;
}

template <typename T, int Cluster>
void launch_tiles(const Product& p) {
  const Plan plan = plan_of<T>(p, Tile<Cluster>::SPAN);
  const int64_t tiles = int64_t(plan.tile_rows) * plan.tile_columns;
  check(tiles <= INT32_MAX, Code::Unsupported, "matrix product: ", tiles, " tiles, expected at most ", INT32_MAX);
  const int64_t clusters = std::min<int64_t>(tiles, std::max(1, properties().multiprocessors / Cluster));
  const Launch shape{dim3(unsigned(clusters * Cluster)), dim3(HOPPER_THREADS), Tile<Cluster>::SHARED_BYTES, Cluster};
  const Part first = first_part(p);
  if (!first.a.along_k) launch(multiply_tiles<T, Cluster, false, false>, shape, plan);
  else if (!first.b.along_k) launch(multiply_tiles<T, Cluster, true, false>, shape, plan);
  else launch(multiply_tiles<T, Cluster, true, true>, shape, plan);
}

}  // namespace

bool can_use_hopper(const Product& p) {
  if ((p.type != DType::BF16 && p.type != DType::F16) || p.m > MOST || p.n > MOST) return false;
  const Part first = first_part(p);
  bool suits = first.a.along_k || !first.b.along_k;
  each_part(p, [&](const Part& part, const Dropout*) {
    suits = suits && part.k <= MOST && part.a.along_k == first.a.along_k && part.b.along_k == first.b.along_k &&
            suits_tma(part.a, p.m, part.k) && suits_tma(part.b, p.n, part.k);
  });
  return suits;
}

// Of the time that a block takes for 128 x 128, by waves. A single tile reads twice the bytes per product of a paired
// one, which costs it about a quarter.
HopperTile hopper_tile(int64_t m, int64_t n) {
  const int64_t multiprocessors = properties().multiprocessors, pairs = multiprocessors / 2;
  if (pairs == 0) return HopperTile::Single;
  const int64_t single = ceil_div(ceil_div(m, SIDE) * ceil_div(n, SIDE), multiprocessors);
  const int64_t paired = ceil_div(ceil_div(m, 2 * SIDE) * ceil_div(n, 2 * SIDE), pairs);
  return 2 * paired * 4 <= single * 5 ? HopperTile::Paired : HopperTile::Single;
}

void multiply_hopper(const Product& p) { multiply_hopper(p, hopper_tile(p.m, p.n)); }

void multiply_hopper(const Product& p, HopperTile tile) {
  if (p.m == 0 || p.n == 0) return;
  const auto with_type = [&](auto zero) {
    using T = decltype(zero);
    if (tile == HopperTile::Single) launch_tiles<T, 1>(p);
    else launch_tiles<T, 2>(p);
  };
  if (p.type == DType::F16) with_type(__half{});
  else with_type(__nv_bfloat16{});
}

}  // namespace lowrank::cuda::gemm
