// Products of few rows, which read the weight as it is stored.
#include <algorithm>
#include <vector>

#include "cpu/gemm/cut.h"
#include "cpu/gemm/gemm.h"
#include "cpu/parallel.h"
#include "cpu/quantized.h"
#include "cpu/vector/rows.h"

namespace lowrank::cpu::gemm {
namespace {

constexpr int64_t FEW_LINES = 4, FEW_PIECE_BYTES = 128 << 10;  // of w
constexpr int COPY_SLOT = 0, DEQUANTIZED_SLOT = 6;             // of scratch, as in gemm.cpp

// The weight of a product, where and as it is stored.
void set_weight(FewRows& f, const Product& p) {
  f.format = p.b.bf16 ? WeightFormat::BF16 : WeightFormat::F32;
  f.w = p.b.data;
  if (p.b.quantized.dtype == DType::I8) {
    const Int8Weight w(p.b.quantized);
    f.format = WeightFormat::I8, f.w = w.codes, f.i8_absmax = w.absmax, f.i8_step = INT8_STEP;
  }
  if (p.b.quantized.dtype == DType::NF4) {
    const Nf4Weight w(p.b.quantized);
    f.format = WeightFormat::NF4, f.w = w.codes, f.nf4_map = NF4_MAP, f.dynamic_map = DYNAMIC_MAP;
    f.nf4_scales = w.scales, f.nf4_nested = w.nested, f.nf4_offset = *w.offset;
  }
}

int64_t weight_bits(WeightFormat format) {
  switch (format) {
    case WeightFormat::F32: return 32;
    case WeightFormat::BF16: return 16;
    case WeightFormat::I8: return 8;
    case WeightFormat::NF4: return 4;
  }
  return 32;
}

// Four rows of w at a time become floats, which stay in the first cache.
void few_rows_of_blocks(FewRows f, const View& w) {
  auto* floats = static_cast<float*>(scratch(DEQUANTIZED_SLOT, size_t(4 * FEW_LINES * f.k + 64)));
  f.w = floats;
  for (int64_t line = f.begin, stop = f.end; line < stop; line += FEW_LINES) {
    FewRows part = f;
    part.begin = 0, part.end = std::min(FEW_LINES, stop - line);
    part.y += line;
    if (part.b) part.b += line * f.r;
    if (part.bias) part.bias += line;
    dequantize(w, line * f.k, (line + part.end) * f.k, floats);
    row_kernels().few_rows(part);
  }
}

// Memory is the bound, so nothing is rounded to bf16, whatever `compute` says.
void multiply_wide(const Product& p) {
  const RowKernels& rows = row_kernels();
  FewRows f = {};
  set_weight(f, p);
  f.m = p.m, f.k = p.k, f.x = static_cast<const float*>(p.a.data), f.ldx = p.a.ld;
  f.r = p.slab.r, f.a = p.slab.a, f.b = p.slab.b, f.bias = p.bias, f.y = p.c, f.ldy = p.n;
  const int64_t width = rows.few_rows_width(f.format, p.k), slab = p.slab.scale == 1 ? 0 : p.m * p.slab.r;
  auto* copy = static_cast<float*>(scratch(COPY_SLOT, size_t(4 * (p.m * width + slab) + 64)));
  if (f.format == WeightFormat::NF4) {
    for (int64_t i = 0; i < p.m; ++i) rows.few_rows_order(copy + i * width, f.x + i * f.ldx, p.k);
    f.x = copy, f.ldx = width;
  }
  if (slab) {
    for (int64_t i = 0; i < slab; ++i) copy[p.m * width + i] = p.slab.scale * p.slab.a[i];
    f.a = copy + p.m * width;
  }
  const int64_t groups = ceil_div(p.n, 4), bytes = p.n * p.k / 8 * weight_bits(f.format);
  const int64_t most = std::max<int64_t>(1, std::max(bytes, 2 * p.m * p.n * p.k / 32) / FEW_PIECE_BYTES);
  const int64_t pieces = std::min({groups, most, int64_t(4 * threads())});
  parallel_for(pieces, [&](int64_t piece) {
    FewRows mine = f;
    mine.begin = part(groups, piece, pieces) * 4, mine.end = std::min(part(groups, piece + 1, pieces) * 4, p.n);
    if (is_blocks(p.b.quantized.dtype)) few_rows_of_blocks(mine, p.b.quantized);
    else rows.few_rows(mine);
  });
}

}  // namespace

// Packing w would cost more than it brings: few rows read it as it is stored.
bool takes_few_rows(const Product& p) {
  const bool slab = !p.slab.r || (p.slab.b_along_r && !p.slab.mask && !p.slab.groups);
  const bool blocks = p.b.quantized.dtype != DType::NF4 || p.k % NF4_BLOCK == 0;
  return p.m <= FEW_ROWS && p.a.along_k && p.b.along_k && slab && blocks;
}

// Rows in bf16 are widened first: they are few.
void multiply_few_rows(const Product& p) {
  if (!p.a.bf16 && !p.rounded) return multiply_wide(p);
  std::vector<float> x(size_t(p.a.bf16 ? p.m * p.k : 0)), y(size_t(p.rounded ? p.m * p.n : 0));
  Product wide = p;
  for (int64_t i = 0; p.a.bf16 && i < p.m; ++i)
    row_kernels().widen(x.data() + i * p.k, static_cast<const uint16_t*>(p.a.data) + i * p.a.ld, p.k);
  if (p.a.bf16) wide.a = {x.data(), p.k, false, true};
  if (p.rounded) wide.c = y.data();
  multiply_wide(wide);
  if (p.rounded) row_kernels().narrow_rows(p.rounded, p.residual, p.n, y.data(), p.n, p.m, p.n);
}

}  // namespace lowrank::cpu::gemm
