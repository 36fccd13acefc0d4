// A frozen linear layer with its low-rank adapter, as one op. The thin products (s, t, da, db) read x and dy straight
// from memory, in f32, or on tiles in two parts of bf16 (cpu/gemm/thin_amx.cpp), so that the adapter keeps its
// precision whatever `compute` says. s b^T and t a are more steps of K in the packed product, so y and dx are written
// once; on tiles the thin products of a block of rows go with the packing of these rows, so dy, and forward x, are read
// once.

#include <algorithm>

#include "core/kernels.h"
#include "cpu/gemm/gemm.h"
#include "cpu/gemm/spec.h"
#include "cpu/half.h"
#include "cpu/lora.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank::cpu {

using namespace lora;

namespace {

constexpr int64_t STRIP = 64;  // rows, whose mask is made at once
constexpr int64_t PARTIAL_BYTES = 16 << 20;
constexpr int64_t CACHED_BYTES = 256 << 10;  // of dy: read for t, and again for db

// Bits of rows [row, row + count), numbered within the tensor.
void make_mask(const Dropout& d, int64_t row, int64_t count, int64_t columns, uint8_t* bits) {
  const DropoutKey key = dropout_key(d);
  const auto fill = gemm::skinny().dropout_bits;
  for (int64_t i = 0; i < count; ++i)
    fill(key, uint32_t(row + i + d.row_offset), columns, bits + i * mask_stride(columns));
}

// For tiles: from `row` on.
gemm::Stored stored_rows(const View& x, int64_t row) {
  return {x.as<char>() + row * x.cols() * (is_bf16(x) ? 2 : 4), is_bf16(x)};
}

constexpr int COPIES = 6;  // scratch of a thread, for f32 copies of rows in bf16

float* copies_of(const View& x, int64_t elements) {
  return static_cast<float*>(scratch(COPIES, is_bf16(x) ? size_t(4 * elements) : 64));
}

// Rows [row, row + count) of x, in `copy` where they are bf16.
const float* rows_of(const View& x, int64_t row, int64_t count, float* copy) {
  return read(x, row * x.cols(), count * x.cols(), copy);
}

constexpr int64_t TILE_PIECE_ROWS = 128;  // partial sums of fewer rows cost more than the sums

// Few rows read the weight as it is stored: all of f32.
const gemm::SplitThin* on_tiles(Compute compute, int64_t rows) {
  return rows > gemm::FEW_ROWS ? gemm::thin_on_tiles(compute) : nullptr;
}

// A factor for SplitThin::dot, in scratch of the thread that made this.
struct PackedFactor {
  PackedFactor() = default;
  PackedFactor(const gemm::SplitThin& tiles, const View& factor, bool along_k, int64_t r, int64_t k)
      : data(scratch(TRANSPOSED, size_t(tiles.packed_bytes(r, k) + 64))), factor(factor), along_k(along_k), r(r), k(k) {
  }
  void fill(const gemm::SplitThin& tiles) const {
    if (data) tiles.pack(factor.as<float>(), along_k, r, k, data);
  }
  void* data = nullptr;
  View factor;
  bool along_k = false;
  int64_t r = 0, k = 0;
};

// Blocks of rows in the product that packs them, or without one.
template <typename Pass>
void run_before(Pass& pass, int64_t block, gemm::Product* product, int64_t rows) {
  const gemm::Before before = {block, &pass,
                               [](void* context, int64_t row, int64_t count, void* to) {
                                 static_cast<Pass*>(context)->rows_on_tiles(row, count, to);
                               },
                               [](void* context) { static_cast<Pass*>(context)->pack_factor(); }};
  if (product) {
    product->before = before;
    gemm::multiply(*product);
  } else {
    gemm::run(before, rows);
  }
}

// s of some rows.
struct Projection {
  View s, x;
  PackedFactor a;
  float factor;
  Dropout dropout;
  const gemm::SplitThin* tiles;

  void pack_factor() const { a.fill(*tiles); }
  void rows_on_tiles(int64_t row, int64_t count, void* to) const {
    const int64_t in = x.cols(), r = s.cols(), stride = mask_stride(in);
    uint8_t* mask = nullptr;
    if (dropout.active()) {
      mask = static_cast<uint8_t*>(scratch(ROW_SCRATCH, size_t(STRIP * stride)));
      make_mask(dropout, row, count, in, mask);
    }
    tiles->dot({stored_rows(x, row), in, mask, stride, a.data, s.as<float>() + row * r, r, factor, count, in, to});
  }
};

// What one backward call shares between its pieces.
struct Backward {
  View da, db, dy, x, a, b, s;
  float scale;
  Dropout dropout;
  int64_t rows, in, out, r;
  const gemm::SplitThin* tiles;     // null: in f32
  int64_t wide_in, wide_out, high;  // a partial sum's rows and their number, in whole tiles
  int64_t pieces, piece_rows;
  float* t;             // [rows, r], null if nobody wants it
  PackedFactor packed;  // b, for tiles
  float* transposed;    // b^T
  uint8_t* mask;        // of x, null without dropout
  float* partial;       // [pieces][da [high, wide_in] | db^T [high, wide_out]]

  int64_t partial_size() const { return (da ? high * wide_in : 0) + (db ? high * wide_out : 0); }
  float* partial_a(int64_t piece) const { return partial + piece * partial_size(); }
  float* partial_b(int64_t piece) const { return partial_a(piece) + (da ? high * wide_in : 0); }

  // One pass over dy: t and db from the same rows, then da from those of x.
  void piece(int64_t index) const {
    const gemm::Skinny& thin = gemm::skinny();
    float *part_a = partial_a(index), *part_b = partial_b(index);
    const int64_t begin = rows * index / pieces, end = rows * (index + 1) / pieces, stride = mask_stride(in);
    const int64_t step = std::clamp<int64_t>(CACHED_BYTES / (4 * std::max<int64_t>(out, 1)) / 4 * 4, 16, STRIP);
    float* copies = copies_of(dy, step * (in + out));
    for (int64_t row = begin; row < end; row += step) {
      const int64_t count = std::min(step, end - row);
      const float* dy_rows = rows_of(dy, row, count, copies);
      if (t)
        thin.dot({dy_rows, out, nullptr, 0, transposed, false, out, t + row * r, r, scale, nullptr, count, r, out});
      if (db) thin.outer({s.as<float>() + row * r, r, dy_rows, out, nullptr, 0, part_b, out, row > begin, count, out});
      if (mask) make_mask(dropout, row, count, in, mask + row * stride);
      if (da)
        thin.outer({t + row * r, r, rows_of(x, row, count, copies + step * out), in,
                    mask ? mask + row * stride : nullptr, stride, part_a, in, row > begin, count, in});
    }
  }

  void pack_factor() const { packed.fill(*tiles); }

  // The same of a block of rows that lies in one piece.
  void rows_on_tiles(int64_t row, int64_t count, void* to) const {
    const int64_t index = row / piece_rows, stride = mask_stride(in);
    const bool more = row % piece_rows > 0;
    const gemm::Stored dy_rows = stored_rows(dy, row);
    void* parts = scratch(PARTS, size_t(tiles->outer_bytes(r)));
    if (t) tiles->dot({dy_rows, out, nullptr, 0, packed.data, t + row * r, r, scale, count, out, to});
    if (db)
      tiles->outer(
          {s.as<float>() + row * r, r, dy_rows, out, nullptr, 0, partial_b(index), wide_out, more, count, out, parts});
    if (mask) make_mask(dropout, row, count, in, mask + row * stride);
    if (da)
      tiles->outer({t + row * r, r, stored_rows(x, row), in, mask ? mask + row * stride : nullptr, stride,
                    partial_a(index), wide_in, more, count, in, parts});
  }

  // Sum of the pieces' partial sums at [j, columns from..to), in the order of the pieces.
  void add_up(const float* first, int64_t j, int64_t width, int64_t from, int64_t to, float* sum) const {
    std::fill(sum, sum + (to - from), 0.0f);
    const auto add = row_kernels().add;
    for (int64_t piece = 0; piece < pieces; ++piece)
      add(sum, sum, first + piece * partial_size() + j * width + from, to - from);
  }

  void reduce() const {
    constexpr int64_t COLUMNS = 64;
    const float multiplier = float(dropout.active() ? dropout.multiplier() : 1.0);
    const int64_t cuts_a = da ? ceil_div(in, COLUMNS) : 0, cuts_b = db ? ceil_div(out, COLUMNS) : 0;
    parallel_for(cuts_a + cuts_b, [&](int64_t cut) {
      float sum[COLUMNS];
      const bool is_a = cut < cuts_a;
      const int64_t width = is_a ? in : out, from = (is_a ? cut : cut - cuts_a) * COLUMNS;
      const int64_t to = std::min(from + COLUMNS, width);
      for (int64_t j = 0; j < r; ++j) {
        add_up(is_a ? partial_a(0) : partial_b(0), j, is_a ? wide_in : wide_out, from, to, sum);
        if (is_a)
          for (int64_t c = from; c < to; ++c) da.as<float>()[j * in + c] = multiplier * sum[c - from];
        else
          for (int64_t c = from; c < to; ++c) db.as<float>()[c * r + j] = sum[c - from];
      }
    });
  }

  void transpose_b() const {
    for (int64_t j = 0; j < r; ++j)
      for (int64_t o = 0; o < out; ++o) transposed[j * out + o] = b.as<float>()[o * r + j];
  }

  // Pieces, and scratch for their partial sums and for b.
  void plan() {
    const auto whole = [&](int64_t n, int64_t tile) { return tiles ? ceil_div(n, tile) * tile : n; };
    wide_in = whole(in, 64), wide_out = whole(out, 64), high = whole(r, 16);
    const int64_t most = std::max<int64_t>(1, PARTIAL_BYTES / std::max<int64_t>(1, 4 * partial_size()));
    if (tiles) {
      piece_rows = TILE_PIECE_ROWS * ceil_div(ceil_div(rows, TILE_PIECE_ROWS), most);
      pieces = ceil_div(rows, piece_rows);
    } else {
      pieces = std::clamp<int64_t>(std::min(ceil_div(rows, PIECE_ROWS), most), 1, std::max<int64_t>(rows, 1));
    }
    partial = static_cast<float*>(scratch(PARTIAL, size_t(4 * pieces * partial_size() + 64)));
    if (rows == 0) std::fill(partial, partial + partial_size(), 0.0f);
    if (!t) return;
    if (tiles) {
      packed = {*tiles, b, false, r, out};
    } else {
      transposed = static_cast<float*>(scratch(TRANSPOSED, size_t(4 * out * r + 64)));
      transpose_b();
    }
  }
};

}  // namespace

void lora::project(const View& s, const View& x, const View& a, double scale, const Dropout& dropout, Compute compute,
                   gemm::Product* product) {
  const int64_t rows = s.rows(), in = x.cols(), r = s.cols(), stride = mask_stride(in);
  const float factor = float(dropout.active() ? scale * dropout.multiplier() : scale);
  if (const gemm::SplitThin* tiles = on_tiles(compute, rows)) {
    Projection pass = {s, x, {*tiles, a, true, r, in}, factor, dropout, tiles};
    return run_before(pass, gemm::BEFORE_ROWS, product, rows);
  }
  const gemm::Skinny& thin = gemm::skinny();
  const int64_t strips = ceil_div(rows, STRIP),
                pieces = rows * in * r < (1 << 18) ? std::min<int64_t>(1, strips) : strips;
  parallel_for(pieces, [&](int64_t piece) {
    for (int64_t strip = piece; strip < strips; strip += pieces) {
      const int64_t row = strip * STRIP, count = std::min(STRIP, rows - row);
      uint8_t* mask = nullptr;
      if (dropout.active()) {
        mask = static_cast<uint8_t*>(scratch(ROW_SCRATCH, size_t(STRIP * stride)));
        make_mask(dropout, row, count, in, mask);
      }
      thin.dot({rows_of(x, row, count, copies_of(x, count * in)), in, mask, stride, a.data, false, in,
                s.as<float>() + row * r, r, factor, nullptr, count, r, in});
    }
  });
  if (product) gemm::multiply(*product);
}

void lora::differentiate(const Rows& rows, gemm::Product* product) {
  Backward pass = {};
  pass.da = rows.da, pass.db = rows.db, pass.dy = rows.dy, pass.x = rows.x, pass.a = rows.a, pass.b = rows.b;
  pass.s = rows.s, pass.scale = float(rows.scale), pass.dropout = rows.dropout;
  pass.rows = rows.dy.rows(), pass.in = rows.a.dims[1], pass.out = rows.b.dims[0], pass.r = rows.a.dims[0];
  pass.t = rows.t, pass.mask = rows.mask;
  pass.tiles = on_tiles(rows.compute, pass.rows);
  pass.plan();
  if (pass.tiles) {
    run_before(pass, pass.piece_rows, product, pass.rows);
  } else {
    parallel_for(pass.pieces, [&](int64_t piece) { pass.piece(piece); });
  }
  if (rows.da || rows.db) pass.reduce();
  if (product && !pass.tiles) gemm::multiply(*product);
}

namespace {

void multiply_layer(View y, View s, View x, View w, View bias, View a, View b, double scale, Dropout dropout,
                    Compute compute) {
  if (y.dtype == DType::F64) return spec::lora_linear<double>(y, s, x, w, bias, a, b, scale, dropout, compute);
  if (y.rows() == 0) return;
  gemm::Product p = {y.rows(), y.cols(), x.cols(), gemm::operand(x, true), gemm::operand(w, true), nullptr};
  gemm::write_to(p, y);
  const Weight<float> shift(bias);
  p.bias = shift.data;
  p.compute = compute;
  p.slab.r = a.dims[0];
  p.slab.a = s.as<float>();
  p.slab.b = b.as<float>();
  p.slab.b_along_r = true;
  project(s, x, a, scale, dropout, compute, &p);
}

void differentiate_layer(View dx, View da, View db, View dy, View x, View w, View a, View b, View s, double scale,
                         Dropout dropout, Compute compute, View residual) {
  const int64_t rows = dy.rows(), in = a.dims[1], out = b.dims[0], r = a.dims[0];
  float* t = nullptr;
  uint8_t* mask = nullptr;
  if (dx || da) {
    t = static_cast<float*>(scratch(ROW_SCRATCH, size_t(4 * rows * r + 64)));
    if (dropout.active()) mask = static_cast<uint8_t*>(scratch(MASK, size_t(rows * mask_stride(in) + 64)));
  }
  const Rows thin = {da, db, dy, x, a, b, s, scale, dropout, compute, t, mask};
  if (!dx || rows == 0) return differentiate(thin);
  gemm::Product p = {rows, in, out, gemm::operand(dy, true), gemm::operand(w, false), nullptr};
  gemm::write_to(p, dx);
  if (p.rounded) p.residual = residual.as<uint16_t>();
  p.compute = compute;
  p.slab.r = r;
  p.slab.a = t;
  p.slab.scale = float(dropout.active() ? dropout.multiplier() : 1.0);
  p.slab.b = a.as<float>();
  p.slab.mask = mask;
  p.slab.mask_stride = mask_stride(in);
  differentiate(thin, &p);
}

}  // namespace

void lora_linear(View y, View s, View x, View w, View bias, View a, View b, double scale, Dropout dropout,
                 Compute compute, bool, Rope turn) {
  const Wide down(a), up(b);
  turned(y, turn, [&](View rows) { multiply_layer(rows, s, x, w, bias, down.view, up.view, scale, dropout, compute); });
}

void lora_linear_backward(View dx, View da, View db, View dy, View x, View w, View a, View b, View s, double scale,
                          Dropout dropout, Compute compute, bool, View residual) {
  if (dy.dtype == DType::F64)
    spec::lora_linear_backward<double>(dx, da, db, dy, x, w, a, b, s, scale, dropout, compute);
  else {
    const Wide down(a), up(b), ddown(da, false), dup(db, false);
    differentiate_layer(dx, ddown.view, dup.view, dy, x, w, down.view, up.view, s, scale, dropout, compute, residual);
    ddown.round();
    dup.round();
  }
  if (dx && residual && !is_bf16(dx)) accumulate(dx, residual, 1);
}

}  // namespace lowrank::cpu
