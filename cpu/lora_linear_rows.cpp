// A frozen linear layer whose groups of rows have adapters of their own: one product of all rows, in which each row
// takes the steps of its own factors, so the weight is packed, or read, once. What is thin goes group by group. Each
// row has the bits that it has where its adapter is alone, but for few rows (16 or fewer), where all that is added
// after the product.

#include <algorithm>
#include <vector>

#include "core/kernels.h"
#include "cpu/gemm/gemm.h"
#include "cpu/gemm/spec.h"
#include "cpu/half.h"
#include "cpu/lora.h"
#include "cpu/pieces.h"

namespace lowrank::cpu {

using namespace lora;

namespace {

using Group = LoraRows::Group;

// Factors and their gradients of groups that have them in bf16, in f32.
struct WideFactors {
  explicit WideFactors(LoraRows& op) {
    wide.reserve(size_t(4 * op.count));
    for (int i = 0; i < op.count; ++i) {
      Group& own = op.group[i];
      for (View* each : {&own.a, &own.b}) *each = wide.emplace_back(*each).view;
      for (View* each : {&own.da, &own.db}) *each = wide.emplace_back(*each, false).view;
    }
  }
  // Hands on the gradients; factors are as they were.
  void round() const {
    for (size_t i = 0; i < wide.size(); ++i)
      if (i % 4 >= 2) wide[i].round();
  }
  std::vector<Wide> wide;
};

// y's rows += s b^T, in dots of rank r: of few rows.
void add_updates(const LoraRows& op) {
  const int64_t columns = op.y.cols();
  constexpr int64_t PIECE = 256;
  parallel_for(ceil_div(columns, PIECE), [&](int64_t piece) {
    const int64_t end = std::min(columns, (piece + 1) * PIECE);
    for (const Group& own : op)
      for (int64_t i = 0; own.a && i < own.rows; ++i)
        for (int64_t c = piece * PIECE; c < end; ++c) {
          const float *s = own.s.as<float>() + i * own.rank(), *b = own.b.as<float>() + c * own.rank();
          float sum = 0;
          for (int64_t k = 0; k < own.rank(); ++k) sum += s[k] * b[k];
          op.y.as<float>()[(own.begin + i) * columns + c] += sum;
        }
  });
}

void forward(const LoraRows& op) {
  std::vector<gemm::SlabGroup> groups;
  int64_t first = 0;
  for (const Group& own : op) {
    if (!own.a) continue;
    project(own.s, own.of(op.x), own.a, own.scale, own.dropout, op.compute);
    groups.push_back({own.begin, own.begin + own.rows, own.rank(), own.s.as<float>(), own.b.as<float>()});
    first += own.rank();
  }
  gemm::Product p = {op.y.rows(), op.y.cols(), op.x.cols(), gemm::operand(op.x, true), gemm::operand(op.w, true),
                     nullptr};
  gemm::write_to(p, op.y);
  const Weight<float> shift(op.bias);
  p.bias = shift.data;
  p.compute = op.compute;
  if (gemm::takes_few_rows(p)) {
    gemm::multiply(p);
    return add_updates(op);
  }
  p.slab.r = first;
  p.slab.b_along_r = true;
  p.slab.groups = groups.data(), p.slab.count = int64_t(groups.size());
  gemm::multiply(p);
}

void backward(const LoraRows& op) {
  const int64_t rows = op.dy.rows(), in = op.x.cols(), stride = mask_stride(in);
  int64_t elements = 0, first = 0;
  for (const Group& own : op) elements += own.rows * own.rank();
  float* t = static_cast<float*>(scratch(ROW_SCRATCH, size_t(4 * elements + 64)));
  uint8_t* mask = nullptr;
  if (op.has_dropout()) {
    mask = static_cast<uint8_t*>(scratch(MASK, size_t(rows * stride + 64)));
    std::fill(mask, mask + rows * stride, uint8_t(0xff));  // of rows without dropout nobody makes one
  }
  std::vector<gemm::SlabGroup> groups;
  for (const Group& own : op) {
    if (!own.a) continue;
    float* mine = op.dx || own.da ? t : nullptr;
    uint8_t* kept = mine && own.dropout.active() ? mask + own.begin * stride : nullptr;
    differentiate({own.da, own.db, own.of(op.dy), own.of(op.x), own.a, own.b, own.s, own.scale, own.dropout, op.compute,
                   mine, kept});
    const float scale = float(own.dropout.active() ? own.dropout.multiplier() : 1.0);
    groups.push_back({own.begin, own.begin + own.rows, own.rank(), t, own.a.as<float>(), scale});
    t += own.rows * own.rank(), first += own.rank();
  }
  if (!op.dx) return;
  gemm::Product p = {rows, in, op.dy.cols(), gemm::operand(op.dy, true), gemm::operand(op.w, false), nullptr};
  gemm::write_to(p, op.dx);
  p.compute = op.compute;
  p.slab.r = first;
  p.slab.mask = mask, p.slab.mask_stride = stride;
  p.slab.groups = groups.data(), p.slab.count = int64_t(groups.size());
  gemm::multiply(p);
}

// The specification: each group is a layer.
void forward_f64(const LoraRows& op) {
  for (const Group& own : op) {
    const View x = own.of(op.x), y = own.of(op.y);
    if (!own.a) spec::linear<double>(y, x, op.w, op.bias, op.compute);
    else spec::lora_linear<double>(y, own.s, x, op.w, op.bias, own.a, own.b, own.scale, own.dropout, op.compute);
  }
}
void backward_f64(const LoraRows& op) {
  for (const Group& own : op) {
    const View x = own.of(op.x), dx = own.of(op.dx), dy = own.of(op.dy);
    if (own.a)
      spec::lora_linear_backward<double>(dx, own.da, own.db, dy, x, op.w, own.a, own.b, own.s, own.scale, own.dropout,
                                         op.compute);
    else if (dx) spec::matmul<double>(dx, dy, op.w, false, false, op.compute);
  }
}

}  // namespace

void lora_linear_rows(LoraRows op) {
  const WideFactors factors(op);
  const Rope turn = op.rope;
  const int64_t rows = op.y.rows();
  // In f32 until all is added up, of few rows, and turned, where that is after the product.
  const Wide whole(turn || rows <= gemm::FEW_ROWS ? op.y : View{}, false);
  if (whole.view) op.y = whole.view;
  if (op.y.dtype == DType::F64) forward_f64(op);
  else forward(op);
  if (turn) rope(op.y, View{}, op.y, View{}, turn.positions, turn.table, turn.head_dim, turn.interleaved, false);
  whole.round();
}

void lora_linear_rows_backward(LoraRows op) {
  const WideFactors factors(op);
  if (op.dy.dtype == DType::F64) backward_f64(op);
  else backward(op);
  factors.round();
}

}  // namespace lowrank::cpu
