// The one driver of the packed products. For a block of columns, all threads pack b into shared panels; then every
// piece (a strip of rows) packs its part of a, K block by K block, and runs the tiles. Each element of c is summed in
// the order of K by one thread, and the K block depends on K alone: so no cut into pieces, however it is chosen,
// changes a bit.

#include "cpu/gemm/gemm.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "cpu/gemm/choice.h"
#include "cpu/gemm/cut.h"
#include "cpu/gemm/session.h"
#include "cpu/pieces.h"
#include "cpu/quantized.h"
#include "cpu/vector/rows.h"

namespace lowrank::cpu::gemm {
namespace {

constexpr int64_t K_BLOCK = 768;        // units; a panel of a (43 KB) and one of b (98 KB) share the L2 cache
constexpr int64_t PACKED_B = 10 << 20;  // bytes: stays in the L3 cache
constexpr int64_t PACK_PIECE_ELEMENTS = 1 << 14;
// Of an operand whose K runs across its rows, so many rows are packed for all panels before the next ones: a line of
// the cache holds columns of several panels, and is still there for each.
constexpr int64_t STRETCH = 16;                                            // units
constexpr int PACKED_B_SLOT = 0, PACKED_A_SLOT = 1, DEQUANTIZED_SLOT = 6;  // of scratch

void run_blocks(const Before& before, int64_t rows) {
  parallel_for(ceil_div(rows, before.rows), [&](int64_t block) {
    const Session session(*choose(Compute::BF16).kernel);
    for (int64_t row = block * before.rows, end = std::min(row + before.rows, rows); row < end; row += BEFORE_ROWS)
      before.run(before.context, row, std::min(BEFORE_ROWS, end - row), nullptr);
  });
}

// One product under way. Units: see kernel.h.
struct Plan {
  explicit Plan(const Product& product)
      : p(product), kernel(*choose(p.compute).kernel), unit(choose(p.compute).unit),
        per_unit(unit == Unit::Pairs ? 2 : 1), units(round_up(ceil_div(p.k, per_unit), kernel.step)),
        k_block(round_up(ceil_div(units, std::max<int64_t>(1, ceil_div(units, K_BLOCK))), kernel.step)) {
    // As many columns as fit with one K block, so that a is packed as seldom as can be; then as many K blocks as fit.
    const int64_t panel = 4 * kernel.nr * std::max<int64_t>(1, k_block);  // bytes
    const int64_t column_blocks = ceil_div(p.n, std::max<int64_t>(PACKED_B / panel, 4) * kernel.nr);
    n_block = round_up(ceil_div(p.n, column_blocks), kernel.nr);
    const int64_t blocks = std::max<int64_t>(1, PACKED_B / (panel * (n_block / kernel.nr)));
    const int64_t phases = ceil_div(units, std::max<int64_t>(1, blocks * k_block));
    in_place = kernel.in_place && p.a.along_k && !p.a.bf16 && unit == Unit::F32 && spreads(p.a.ld);
    phase_units = phases ? ceil_div(ceil_div(units, k_block), phases) * k_block : 0;
    for (int64_t g = 0; g < slab_groups(); ++g) {
      firsts.push_back(slab_units);
      slab_units += steps_of_rank(slab_group(g).r);
    }
  }

  // Whether rows of that stride spread over the L2 cache: those a multiple of 8 KB apart meet in a few of its sets.
  static bool spreads(int64_t ld) { return 4 * ld % (8 << 10) != 0; }

  // Groups of rows with factors of their own; without any, all rows are one. A group begins with a whole step of the
  // kernel, so that its rows have the same bits beside others as alone.
  int64_t slab_groups() const { return p.slab.groups ? p.slab.count : p.slab.r ? 1 : 0; }
  SlabGroup slab_group(int64_t g) const {
    if (p.slab.groups) return p.slab.groups[g];
    return {0, p.m, p.slab.r, p.slab.a, p.slab.b, p.slab.scale};
  }
  int64_t steps_of_rank(int64_t r) const { return kernel.split_slab ? round_up(ceil_div(3 * r, 2), kernel.step) : r; }

  void run() {
    if (suits_passing()) return pass();
    for (int64_t n0 = 0; n0 < p.n; n0 += n_block) {
      columns = std::min(n_block, p.n - n0);
      for (int64_t u0 = 0; u0 < units || u0 == 0; u0 += phase_units) {
        phase = std::min(phase_units, units - u0);
        pack_b(n0, u0);
        compute(n0, u0);
        if (phase_units == 0) break;
      }
    }
  }

  // Few rows and many columns: all rows stay in the L2 cache, and b passes by once, each panel packed, used and
  // forgotten by one thread.
  bool suits_passing() const {
    const int64_t rows = 4 * round_up(p.m, kernel.mr) * std::max<int64_t>(1, k_block);  // bytes
    return rows <= packed_a() / 4 * 5 && ceil_div(p.n, std::min(kernel.nr, 32)) >= 32 * int64_t(threads());
  }

  // Of the rows of a strip, which stay in the L2 cache beside two panels of b.
  int64_t strip_bytes() const {
    const int64_t wider = kernel.nr - 32;  // than what packed_a() leaves room for
    return packed_a() - 2 * 4 * std::max<int64_t>(0, wider) * k_block;
  }

  // Whether c is where sums wait for the next phase of K.
  bool keeps_sums() const { return phase_units < units && !suits_passing(); }

  void pass() {
    if (p.before.run) gemm::run(p.before, p.m);
    columns = p.n, phase = units, passing = true;
    const int64_t panels = ceil_div(columns, kernel.nr), pieces = 4 * int64_t(threads());
    parallel_for(pieces, [&](int64_t piece) {
      compute_strip({0, ceil_div(p.m, kernel.mr), part(panels, piece, pieces), part(panels, piece + 1, pieces)}, 0, 0,
                    panels);
    });
  }

  void pack_b(int64_t n0, int64_t u0) {
    const int64_t panels = ceil_div(columns, kernel.nr);
    const int64_t slab = u0 == 0 ? slab_units : 0;
    packed_b = static_cast<float*>(scratch(PACKED_B_SLOT, size_t(4 * panels * kernel.nr * (phase + slab) + 64)));
    slab_b = packed_b + panels * kernel.nr * phase;
    const int64_t blocks = std::max<int64_t>(1, ceil_div(phase, std::max<int64_t>(1, k_block)));
    const int64_t stretch = stretch_of(p.b, k_block), stretches = std::max<int64_t>(1, ceil_div(k_block, stretch));
    const int64_t parts = panels * blocks * stretches;
    const int64_t elements = panels * kernel.nr * (phase * per_unit + slab);
    const int64_t most = std::min(parts, 4 * int64_t(threads()));
    const int64_t pieces = std::clamp<int64_t>(elements / PACK_PIECE_ELEMENTS, 1, most);
    const bool begins = p.before.run && n0 == 0 && u0 == 0;
    parallel_for(pieces + begins, [&](int64_t index) {
      if (begins && index == 0) return p.before.begin(p.before.context);
      const int64_t piece = index - begins;
      for (int64_t i = part(parts, piece, pieces); i < part(parts, piece + 1, pieces); ++i) {
        const int64_t j = p.b.along_k ? i / blocks : i % panels, at = p.b.along_k ? i % blocks : i / panels;
        const int64_t u = at / stretches * k_block, from = at % stretches * stretch,
                      block = std::min(k_block, phase - u);
        float* panel = packed_b + (u * panels + j * block) * kernel.nr;
        if (from < block) pack_b_units(n0, j, u0 + u + from, std::min(stretch, block - from), panel + from * kernel.nr);
        if (slab && at == 0) pack_slab_b(n0, j, slab_b + j * slab * kernel.nr);
      }
    });
  }

  // Units of a panel of `o` that are packed at once, of `block`.
  static int64_t stretch_of(const Operand& o, int64_t block) {
    return std::max<int64_t>(1, o.along_k ? block : std::min(block, STRETCH));
  }

  void pack_b_units(int64_t n0, int64_t j, int64_t from, int64_t count, float* to) const {
    const int64_t at = n0 + j * kernel.nr, k = from * per_unit;
    Pack pack = whole(p.b, at, k, kernel.nr, std::min<int64_t>(kernel.nr, columns - j * kernel.nr));
    pack.depth = std::min(count * per_unit, p.k - k);
    pack.dst = to;
    if (p.b.quantized) dequantize_panel(pack, at, k);
    kernel.pack(pack);
  }

  // The source of a panel of b that begins at (i, k), as f32.
  void dequantize_panel(Pack& pack, int64_t i, int64_t k) const {
    const bool along_k = p.b.along_k;
    const int64_t lines = along_k ? pack.count : pack.depth, width = along_k ? pack.depth : pack.count;
    auto* panel = static_cast<float*>(scratch(DEQUANTIZED_SLOT, size_t(4 * lines * width + 64)));
    for (int64_t line = 0; line < lines; ++line) {
      const int64_t begin = along_k ? (i + line) * p.b.ld + k : (k + line) * p.b.ld + i;
      dequantize(p.b.quantized, begin, begin + width, panel + line * width);
    }
    pack.src = panel, pack.ld = width;
  }

  void pack_slab_b(int64_t n0, int64_t j, float* panel) const {
    const int64_t at = n0 + j * kernel.nr, count = std::min<int64_t>(kernel.nr, columns - j * kernel.nr);
    if (kernel.split_slab) std::fill(panel, panel + slab_units * kernel.nr, 0.0f);
    for (int64_t g = 0; g < slab_groups(); ++g) {
      const SlabGroup own = slab_group(g);
      const Operand b = {own.b, p.slab.b_along_r ? own.r : p.n, false, p.slab.b_along_r};
      Pack pack = whole(b, at, 0, kernel.nr, count);
      pack.unit = kernel.split_slab ? Unit::Split : Unit::F32;
      pack.depth = own.r;
      pack.dst = panel + firsts[size_t(g)] * kernel.nr;
      kernel.pack(pack);
    }
  }

  // The steps of the slab that `count` rows from `row` on take.
  struct Steps {
    int64_t first, end;
  };
  Steps steps_of(int64_t row, int64_t count) const {
    if (!p.slab.groups) return {0, slab_units};
    Steps steps = {slab_units, 0};
    for (int64_t g = 0; g < p.slab.count; ++g) {
      const SlabGroup& own = p.slab.groups[g];
      if (own.end <= row || own.begin >= row + count) continue;
      const int64_t from = firsts[size_t(g)];
      steps.first = std::min(steps.first, from), steps.end = std::max(steps.end, from + steps_of_rank(own.r));
    }
    return {std::min(steps.first, steps.end), steps.end};
  }

  // Of rows of several groups: a row has zeros at the steps of the others.
  void pack_slab_a(int64_t row, int64_t count, float* panel) const {
    const Steps steps = steps_of(row, count);
    if (p.slab.groups || kernel.split_slab)
      std::fill(panel + steps.first * kernel.mr, panel + steps.end * kernel.mr, 0.0f);
    for (int64_t g = 0; g < slab_groups(); ++g) {
      const SlabGroup own = slab_group(g);
      const int64_t begin = std::max(own.begin, row), end = std::min(own.end, row + count);
      float* steps_of_group = panel + firsts[size_t(g)] * kernel.mr;
      if (p.slab.groups && !kernel.split_slab) {
        for (int64_t i = begin; i < end; ++i)
          for (int64_t k = 0; k < own.r; ++k)
            steps_of_group[k * kernel.mr + i - row] = own.scale * own.a[(i - own.begin) * own.r + k];
      } else if (begin < end) {
        Pack pack = whole({own.a, own.r, false, true}, begin - own.begin, 0, kernel.mr, end - begin);
        pack.of_a = true;
        pack.unit = kernel.split_slab ? Unit::Split : Unit::F32;
        pack.depth = own.r;
        pack.scale = own.scale;
        pack.dst = steps_of_group + (begin - row) * kernel.step;
        kernel.pack(pack);
      }
    }
  }

  const float* rows_of_a(int64_t row, int64_t k) const {
    return static_cast<const float*>(p.a.data) + row * p.a.ld + k;
  }

  // A panel whose first element is (i, k).
  Pack whole(const Operand& o, int64_t i, int64_t k, int width, int64_t count) const {
    const int64_t offset = o.along_k ? i * o.ld + k : k * o.ld + i;
    const void* src = o.quantized ? nullptr : static_cast<const char*>(o.data) + offset * (o.bf16 ? 2 : 4);
    return {src, o.ld, o.bf16, o.along_k, unit, width, int(count), 0, 1.0f, nullptr};
  }

  void compute(int64_t n0, int64_t u0) {
    const int64_t row_panels = ceil_div(p.m, kernel.mr), column_panels = ceil_div(columns, kernel.nr);
    const int64_t fit = std::max<int64_t>(1, strip_bytes() / (4 * kernel.mr * std::max<int64_t>(1, k_block)));
    const int64_t most = std::max<int64_t>(1, 2 * p.m * columns * (phase * per_unit + p.slab.r) / PIECE_FLOPS);
    // Strips are whole blocks of what goes before them.
    const int64_t together = preparing(u0) ? ceil_div(p.before.rows, kernel.mr) : 1;
    const int64_t blocks = ceil_div(row_panels, together);
    Grid grid = cut({row_panels, column_panels, fit, most, kernel.pack_cost, kernel.load_cost}, threads());
    grid.strips = std::min(grid.strips, blocks);
    prepares = preparing(u0) && grid.cuts == 1 && columns == p.n;
    if (preparing(u0) && n0 == 0 && !prepares) prepare_all();
    parallel_for(grid.strips * grid.cuts, [&](int64_t piece) {
      const int64_t i = piece / grid.cuts, j = piece % grid.cuts;
      const Strip s = {part(blocks, i, grid.strips) * together,
                       std::min(part(blocks, i + 1, grid.strips) * together, row_panels),
                       part(column_panels, j, grid.cuts), part(column_panels, j + 1, grid.cuts)};
      compute_strip(s, n0, u0, column_panels);
    });
  }

  // What is made of blocks of rows before these are packed: beside the packing of the same rows, which are then in the
  // cache, where each is packed once; else of all of them first.
  bool preparing(int64_t u0) const { return p.before.run && u0 == 0; }
  void prepare_all() const { run_blocks(p.before, p.m); }

  struct Strip {
    int64_t i0, i1, j0, j1;  // panels of rows and of columns
  };

  void compute_strip(const Strip& s, int64_t n0, int64_t u0, int64_t panels) const {
    const int64_t slab = u0 == 0 ? slab_units : 0, panel_count = s.i1 - s.i0;
    const int64_t rows = panel_count * kernel.mr, width = k_block + slab;
    // Of a result to be rounded: [panels of columns][rows][nr], one panel where K is one block.
    const int64_t sums_size = p.rounded ? rows * kernel.nr * (phase > k_block ? s.j1 - s.j0 : 1) : 0;
    const int64_t own_rows = round_up(rows * (in_place ? slab : width), 16);  // floats
    float* slab_a =
        static_cast<float*>(scratch(PACKED_A_SLOT, size_t(4 * (own_rows + kernel.nr * width + sums_size) + 64)));
    float *packed_a = slab_a + rows * slab, *own_b = slab_a + own_rows, *sums = own_b + kernel.nr * width;
    const Session session(kernel);
    for (int64_t u = 0; u < phase || u == 0; u += k_block) {
      const int64_t block = std::min(k_block, phase - u);
      pack_a(s, (u0 + u) * per_unit, block, packed_a, u == 0 && slab ? slab_a : nullptr);
      for (int64_t j = s.j0; j < s.j1; ++j) {
        Column c = {n0, j, u0 + u, block, packed_a, own_b, slab_a, own_b + block * kernel.nr, nullptr};
        if (p.rounded) c.sums = sums + (phase > k_block ? (j - s.j0) * rows * kernel.nr : 0);
        if (passing) {
          pack_b_units(n0, j, u0 + u, block, own_b);
          if (slab && u == 0) pack_slab_b(n0, j, own_b + block * kernel.nr);
        } else {
          c.b = packed_b + (u * panels + j * block) * kernel.nr, c.slab_b = slab_b + j * slab * kernel.nr;
        }
        compute_column(s, c);
        if (p.rounded && u + block >= phase) round_column(s, c);
      }
      if (k_block == 0) break;
    }
  }

  // A block of K of one panel of columns, packed.
  struct Column {
    int64_t n0, j, begin, units;
    const float *a, *b, *slab_a, *slab_b;
    float* sums;  // [rows][nr], or null: they are in c
  };

  void round_column(const Strip& s, const Column& c) const {
    const int64_t row = s.i0 * kernel.mr, at = row * p.n + c.n0 + c.j * kernel.nr;
    row_kernels().narrow_rows(p.rounded + at, p.residual ? p.residual + at : nullptr, p.n, c.sums, kernel.nr,
                              std::min(s.i1 * kernel.mr, p.m) - row,
                              std::min<int64_t>(kernel.nr, columns - c.j * kernel.nr));
  }

  // In passes of which both panels stay in the first cache, where the kernel asks for that.
  void compute_column(const Strip& s, const Column& c) const {
    const int64_t column = c.n0 + c.j * kernel.nr, most = kernel.pass ? kernel.pass : std::max<int64_t>(1, c.units);
    Tile t = {};
    t.ldc = c.sums ? kernel.nr : p.n;
    t.lda = in_place ? p.a.ld : 0;
    t.mask_stride = p.slab.mask_stride;
    t.cols = int(std::min<int64_t>(kernel.nr, columns - c.j * kernel.nr));
    for (int64_t u = 0; u < c.units || u == 0; u += most) {
      const bool first = c.begin + u == 0, last = c.begin + u + most >= units;
      const int64_t slab = first ? slab_units : 0;
      t.units = std::min(most, c.units - u);
      t.accumulate = !first;
      t.b = c.b + u * kernel.nr;
      t.bias = last && p.bias ? p.bias + column : nullptr;
      for (int64_t i = s.i0; i < s.i1; ++i) {
        const int64_t row = i * kernel.mr;
        t.rows = int(std::min<int64_t>(kernel.mr, p.m - row));
        t.a = in_place ? rows_of_a(row, c.begin + u) : c.a + ((i - s.i0) * c.units + u) * kernel.mr;
        const Steps steps = first ? steps_of(row, t.rows) : Steps{0, 0};
        t.slab = steps.end - steps.first;
        t.slab_a = c.slab_a + ((i - s.i0) * slab + steps.first) * kernel.mr;
        t.slab_b = c.slab_b + steps.first * kernel.nr;
        t.mask = p.slab.mask ? p.slab.mask + row * p.slab.mask_stride + column / 8 : nullptr;
        t.c = c.sums ? c.sums + (i - s.i0) * kernel.mr * kernel.nr : p.c + row * p.n + column;
        look_ahead(t, i - s.i0, s.i1 - s.i0);
        kernel.tile(t);
      }
    }
  }

  // Tile i of `count` with these columns: what it fetches of the next panel of b, which lies behind the present one.
  void look_ahead(Tile& t, int64_t i, int64_t count) const {
    const int64_t lines = t.units * kernel.nr / 16;
    const int64_t step = kernel.mr * t.ldc;
    t.next_c = i + 1 < count || p.rounded ? t.c + step : t.c - (count - 1) * step + kernel.nr;
    t.next_b = static_cast<const float*>(t.b) + t.units * kernel.nr + part(lines, i, count) * 16;
    t.next_lines = passing ? 0 : part(lines, i + 1, count) - part(lines, i, count);
  }

  void pack_a(const Strip& s, int64_t k, int64_t block, float* packed_a, float* slab_a) const {
    const int64_t stretch = stretch_of(p.a, block);
    for (int64_t u = 0; u < block || u == 0; u += stretch)
      for (int64_t i = s.i0; i < s.i1; ++i) {
        const int64_t row = i * kernel.mr, count = std::min<int64_t>(kernel.mr, p.m - row);
        float* panel = packed_a + (i - s.i0) * kernel.mr * block;
        if (prepares && k == 0 && row % BEFORE_ROWS == 0)
          p.before.run(p.before.context, row, std::min(BEFORE_ROWS, p.m - row), block == units ? panel : nullptr);
        if (slab_a && u == 0) pack_slab_a(row, count, slab_a + (i - s.i0) * kernel.mr * slab_units);
        if (in_place || (prepares && block == units)) continue;
        Pack pack = whole(p.a, row, k + u * per_unit, kernel.mr, count);
        pack.of_a = true;
        pack.depth = std::min(std::min(stretch, block - u) * per_unit, p.k - k - u * per_unit);
        pack.dst = panel + u * kernel.mr;
        kernel.pack(pack);
      }
  }

  const Product& p;
  const Kernel& kernel;
  const Unit unit;
  const int64_t per_unit;  // steps of K
  const int64_t units, k_block;
  int64_t phase_units, n_block;
  std::vector<int64_t> firsts;  // of each group of the slab, its first unit
  int64_t slab_units = 0;
  int64_t columns = 0, phase = 0;  // of the present block of columns and phase of K
  float *packed_b = nullptr, *slab_b = nullptr;
  bool passing = false, prepares = false, in_place = false;
};

// In f32 first: what every phase of K adds to is not rounded in between.
void multiply_rounded(const Product& p) {
  const std::unique_ptr<float[]> sums(new float[size_t(p.m * p.n)]);
  Product wide = p;
  wide.c = sums.get(), wide.rounded = nullptr;
  Plan(wide).run();
  for_pieces(p.m, PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
    const int64_t at = begin * p.n;
    row_kernels().narrow_rows(p.rounded + at, p.residual ? p.residual + at : nullptr, p.n, wide.c + at, p.n,
                              end - begin, p.n);
  });
}

}  // namespace

void run(const Before& before, int64_t rows) {
  before.begin(before.context);
  run_blocks(before, rows);
}

void multiply(const Product& p) {
  if (p.m == 0 || p.n == 0) return;
  if (takes_few_rows(p)) return multiply_few_rows(p);
  if (p.rounded && Plan(p).keeps_sums()) return multiply_rounded(p);
  if (!multiply_thin(p)) Plan(p).run();
}

}  // namespace lowrank::cpu::gemm
