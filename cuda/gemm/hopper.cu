// y = sum of a b^T over segments and slabs + bias + residual, for bf16 and f16 on Hopper: TMA and wgmma.
//
// One persistent block a multiprocessor, which works off tiles of y. A producer thread loads both operands by TMA into
// a ring of stages in shared memory, always a few ahead, across tiles too; two consumers, warpgroups of 64 rows, issue
// wgmma on them and write y. An mbarrier a stage says that it is full, another that it is empty. In clusters of two
// blocks each loads half of the columns' operand for both (multicast), which halves its traffic from L2. Tiles are
// ordered in bands that keep what is read together in L2.
//
// Products of layers on one input are one launch: their columns of tiles lie side by side, each with parts, bias and y
// of its own.
//
// Segments and slabs are parts of one K: each has its own tensor maps, out of whose bounds TMA fills in zeros, so
// ragged edges and low ranks are ordinary stages with fewer k-steps. Parts with dropout come first; each is summed up
// apart in chunks of 64 columns, masked in registers by regenerated bits (one Philox call a row and chunk), then added.
//
// Where tiles are too few for the device, several clusters share one, each with a stretch of K (cuda/gemm/hopper.h).
//
// Passes: operands from HBM once, if a band fits L2; y written once. Accumulation in f32, one rounding. Bound by tensor
// cores from K of about 1k up; the target is 80% of their dense peak for 4096^3 and above.

#include <algorithm>

#include "cuda/gemm/hopper.h"
#include "cuda/gemm/hopper_kernel.cuh"
#include "cuda/gemm/pieces.cuh"
#include "cuda/gemm/rope.cuh"

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

// y as [splits, m, n], lines `pitch` elements apart.
template <typename Y>
void plan_output(Plan& plan, int i, const void* y, int64_t pitch) {
  Plan::Result& result = plan.result[i];
  const uint64_t line = uint64_t(pitch) * sizeof(Y), n = uint64_t(result.n), m = uint64_t(plan.m);
  result.stores_boxes = reinterpret_cast<uintptr_t>(y) % 16 == 0 && line % 16 == 0;
  if (!result.stores_boxes) return;
  plan.y[i] = tensor_map(static_cast<const Y*>(y),
                         {{n, m, uint64_t(plan.splits)}, {line, line * m}, {PANEL_COLUMNS<Y>, 64, 1}, 128});
}

// Parts of one product, after those of others.
template <typename T>
void add_product(Plan& plan, const Product& p, int span, int& parts) {
  Plan::Result& result = plan.result[plan.results++];
  result.first = result.masked = parts;
  each_part(p, [&](const Part& part, const Dropout* dropout) {
    plan.a[parts] = operand_map<T>(part.a, p.m, part.k);
    plan.b[parts] = operand_map<T>(part.b, p.n, part.k);
    plan.k[parts++] = int(part.k);
    if (dropout && dropout->active()) plan.dropout[result.masked++] = *dropout;
    else result.whole_stages += int(part.k / DEPTH);
  });
  result.parts = parts;
  result.n = int(p.n), result.tile_columns = int(ceil_div(p.n, span));
  plan.tile_columns += result.tile_columns;
}

template <typename T>
Plan plan_of(const std::vector<Product>& products, int span, int splits) {
  Plan plan = {};
  int parts = 0;
  plan.m = int(products[0].m), plan.splits = splits;
  plan.tile_rows = int(ceil_div(products[0].m, span));
  for (const Product& p : products) add_product<T>(plan, p, span, parts);
  return plan;
}

void write_output(Plan& plan, int i, const Product& p) {
  Plan::Result& result = plan.result[i];
  result.bias = p.bias.data, result.residual = p.residual.data, result.out = p.y.data;
  result.bias_f32 = p.bias.dtype == DType::F32, result.out_f32 = p.y.dtype == DType::F32;
  if (result.out_f32) plan_output<float>(plan, i, p.y.data, p.n);
  else if (p.type == DType::F16) plan_output<__half>(plan, i, p.y.data, p.n);
  else plan_output<__nv_bfloat16>(plan, i, p.y.data, p.n);
}

// Whether tiles of `span` turn y: whole heads whose columns are all in pairs half a head apart. Both columns of a pair
// are then accumulators of one thread, at a distance that the compiler knows.
bool rotates_tiles(const Product& p, int span) {
  const Rope& r = p.rope;
  const Part first = first_part(p);
  return r && !r.interleaved && r.table.cols() == r.head_dim && r.table.dtype == DType::F32 && aligned(r.table) &&
         (r.head_dim == 64 || r.head_dim == 128 || r.head_dim == 256) && r.head_dim <= span && first.a.along_k &&
         first.b.along_k;
}

void rope_output(Plan& plan, int i, const Product& p) {
  plan.result[i].rotated = true;
  plan.table = p.rope.table.as<float>();
  plan.positions = Indices(p.rope.positions, p.rope.table.rows(), IndexKind::Position);
  plan.head_dim = int(p.rope.head_dim);
}

// The epilogue has the code for products alone.
Curve curve_of(const std::vector<Product>& products) {
  return products.size() == 1 ? gemm::curve_of(products[0]) : Curve{};
}

template <typename T>
void bend_output(Plan& plan, const Product& p, const Curve& curve) {
  plan.curve = curve;
  if (!curve.to) return;
  const uint64_t n = uint64_t(p.n), m = uint64_t(p.m);
  plan.bent =
      tensor_map(static_cast<const T*>(curve.to), {{n, m, 1}, {2 * n, 2 * n * m}, {PANEL_COLUMNS<T>, 64, 1}, 128});
}

// The sums of splits, for add_pieces.
Pieces write_splits(Scratch& sums, Plan& plan, const Product& p) {
  const int64_t pitch = ceil_div(p.n, 4) * 4;
  auto* partial = sums.take<float>(plan.splits * p.m * pitch);
  plan.result[0].out_f32 = true;
  plan_output<float>(plan, 0, partial, pitch);
  return {partial, plan.splits, p.m, p.n, pitch, p.bias, p.residual, p.y, gemm::curve_of(p)};
}

template <typename T, int Cluster>
void launch_plan(const Plan& plan, const Product& p) {
  const int64_t all = int64_t(plan.tile_rows) * plan.tile_columns * plan.splits;
  check(all <= INT32_MAX, Code::Unsupported, "matrix product: ", all, " tiles, expected at most ", INT32_MAX);
  const int64_t clusters = std::min<int64_t>(all, std::max(1, properties().multiprocessors / Cluster));
  const Launch shape{dim3(unsigned(clusters * Cluster)), dim3(HOPPER_THREADS), Tile<Cluster>::SHARED_BYTES, Cluster,
                     true};
  const Part first = first_part(p);
  if (!first.a.along_k) launch(multiply_tiles<T, Cluster, false, false>, shape, plan);
  else if (!first.b.along_k) launch(multiply_tiles<T, Cluster, true, false>, shape, plan);
  else launch(multiply_tiles<T, Cluster, true, true>, shape, plan);
}

// All of K of each.
template <typename T, int Cluster>
void launch_whole(const std::vector<Product>& products) {
  Plan plan = plan_of<T>(products, Tile<Cluster>::SPAN, 1);
  const auto rotates = [](const Product& p) { return rotates_tiles(p, Tile<Cluster>::SPAN); };
  for (size_t i = 0; i < products.size(); ++i) {
    if (rotates(products[i])) rope_output(plan, int(i), products[i]);
    write_output(plan, int(i), products[i]);
  }
  const Curve curve = curve_of(products);
  bend_output<T>(plan, products[0], curve);
  launch_plan<T, Cluster>(plan, products[0]);
  for (const Product& p : products) {
    if (p.rope && !rotates(p)) rotate_rounded(p);
    if (!curve) bend_rounded(p);
  }
}

template <typename T, int Cluster>
void launch_split(const Product& p, int splits) {
  Plan plan = plan_of<T>({p}, Tile<Cluster>::SPAN, splits);
  Scratch space(Owner::Pieces);
  const Pieces sums = write_splits(space, plan, p);
  launch_plan<T, Cluster>(plan, p);
  if (adds_rotated(p.rope)) return add_rotated(p, sums.partial, splits, sums.pitch);
  launch_pieces<T>(sums);
  if (p.rope) rotate_rounded(p);
  if (!sums.curve) bend_rounded(p);
}

int64_t whole_stages(const Product& p) {
  int64_t stages = 0;
  each_part(p, [&](const Part& part, const Dropout*) { stages += part.k / DEPTH; });
  return stages;
}

// Whether one plan holds them: they differ in n alone, and turn by one rope.
bool fits_together(const std::vector<Product>& products) {
  const Product& first = products[0];
  int parts = 0;
  for (const Product& p : products) {
    bool masked = false;
    each_part(p,
              [&](const Part&, const Dropout* dropout) { ++parts, masked = masked || (dropout && dropout->active()); });
    if (products.size() > 1 && (masked || p.m != first.m)) return false;
    if (first_part(p).b.along_k != first_part(first).b.along_k) return false;
  }
  return parts <= PARTS;
}

// Clock cycles of a product, roughly: waves of tiles, each of a share of the stages and of writing y; then adding up.
// Tensor cores take 512 cycles for 128 x 128 x 64, but single tiles have to wait for L2.
double cycles(const std::vector<Product>& products, int64_t stages, HopperCut cut) {
  const int cluster = cut.tile == HopperTile::Single ? 1 : 2;
  const int64_t span = cluster * SIDE, workers = properties().multiprocessors / cluster;
  int64_t all = 0, elements = 0;
  for (const Product& p : products)
    all += ceil_div(p.m, span) * ceil_div(p.n, span) * cut.splits, elements += p.m * p.n;
  const int64_t waves = ceil_div(all, workers);
  const double stage = cluster == 1 ? 640 : 1024, ends = 2000, adding = 5000, bytes_a_cycle = 1500;
  const double tiles = double(waves) * (double(ceil_div(stages, cut.splits)) * stage + ends);
  return cut.splits == 1 ? tiles : tiles + adding + double(elements) * 8 * cut.splits / bytes_a_cycle;
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

HopperCut hopper_cut(const std::vector<Product>& products) {
  constexpr int MOST_SPLITS = 16, LEAST_STAGES = 8;
  const int64_t stages = whole_stages(products[0]);
  HopperCut best;
  for (const HopperTile tile : {HopperTile::Single, HopperTile::Paired}) {
    if (tile == HopperTile::Paired && properties().multiprocessors < 2) continue;
    for (int splits = 1; splits == 1 || (splits <= MOST_SPLITS && stages / splits >= LEAST_STAGES); ++splits)
      if (cycles(products, stages, {tile, splits}) < cycles(products, stages, best)) best = {tile, splits};
  }
  return best;
}

void multiply_hopper(const std::vector<Product>& products) {
  const HopperCut cut = hopper_cut(products);
  if (products.size() == 1 || (cut.splits == 1 && fits_together(products))) return multiply_hopper(products, cut);
  for (const Product& each : products) multiply_hopper({each});
}

void multiply_hopper(const std::vector<Product>& products, HopperCut cut) {
  const Product& first = products[0];
  if (first.m == 0 || first.n == 0) return;
  const auto with_tile = [&](auto zero, auto cluster) {
    using T = decltype(zero);
    constexpr int CLUSTER = decltype(cluster)::value;
    if (cut.splits == 1) return launch_whole<T, CLUSTER>(products);
    for (const Product& each : products) launch_split<T, CLUSTER>(each, cut.splits);
  };
  const auto with_type = [&](auto zero) {
    if (cut.tile == HopperTile::Single) with_tile(zero, std::integral_constant<int, 1>());
    else with_tile(zero, std::integral_constant<int, 2>());
  };
  if (first.type == DType::F16) with_type(__half{});
  else with_type(__nv_bfloat16{});
}

}  // namespace lowrank::cuda::gemm
