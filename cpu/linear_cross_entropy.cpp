// Cross-entropy of the logits z = x w^T + bias of a frozen head, in chunks of rows, so that all logits never exist. Of
// one row, after c = cap tanh(z / cap) where logits are capped:
//   loss = lse - (1 - eps) c[y] - eps / C sum of c + zeta lse^2
//   dz[i] = ((1 + 2 zeta lse) p[i] - eps / C - [i = y] (1 - eps)) (1 - (c[i] / cap)^2),  dx = dz w
// dx lacks `scale`, which backward multiplies by: 1 / tokens would take half precision below its range.
#include <algorithm>
#include <cmath>

#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank {
namespace {

using namespace cpu;

constexpr int LOGITS = 2, LOSSES = 3;  // scratch; products have 0, 1 and 6
constexpr int64_t ROWS = 4;            // of a piece: a row has tens of thousands of logits

// Turns a row of logits into their gradient, and returns its loss.
template <typename T>
double row_loss(T* z, int32_t label, int64_t classes, const LinearCrossEntropy& o, bool gradient) {
  const double cap = o.softcap, each = o.smoothing / double(classes);
  double top = -INFINITY, sum = 0, all = 0;
  for (int64_t i = 0; cap > 0 && i < classes; ++i) z[i] = T(cap * std::tanh(double(z[i]) / cap));
  for (int64_t i = 0; i < classes; ++i) top = z[i] > top || z[i] != z[i] ? z[i] : top;
  for (int64_t i = 0; i < classes; ++i) {
    sum += std::exp(double(z[i]) - top);
    all += double(z[i]);
  }
  const double lse = top + std::log(sum);
  const double loss = lse - (1 - o.smoothing) * double(z[label]) - each * all + o.z_loss * lse * lse;
  for (int64_t i = 0; gradient && i < classes; ++i) {
    const double c = double(z[i]), slope = cap > 0 ? (1 - c / cap) * (1 + c / cap) : 1;
    const double p = (1 + 2 * o.z_loss * lse) * std::exp(c - lse);
    z[i] = T((p - each - (i == label ? 1 - o.smoothing : 0)) * slope);
  }
  return loss;
}

double row_loss(float* z, int32_t label, int64_t classes, const LinearCrossEntropy& o, bool gradient) {
  const RowKernels& k = row_kernels();
  const float cap = float(o.softcap);
  if (cap > 0) k.softcap(z, cap, classes);
  float top;
  double sum;
  k.exp_sum(z, classes, &top, &sum);
  const double each = o.smoothing / double(classes), on = 1 - o.smoothing, lse = double(top) + std::log(sum);
  const double loss = lse - on * double(z[label]) + o.z_loss * lse * lse;
  const double all = each > 0 ? each * k.sum(z, classes) : 0;
  if (gradient) {
    const float inverse = cap > 0 ? 1 / cap : 0, u = z[label] * inverse;
    k.logits_gradient(z, top, float((1 + 2 * o.z_loss * lse) / sum), float(each), inverse, classes);
    z[label] -= float(on) * (1 - u) * (1 + u);
  }
  return loss - all;
}

}  // namespace

void cpu::linear_cross_entropy(View loss, View dx, View x, View w, View bias, View labels, LinearCrossEntropy o) {
  dispatch(x, [&](auto zero) {
    using T = decltype(zero);
    const int64_t rows = x.rows(), classes = w.rows();
    auto* values = static_cast<T*>(scratch(LOGITS, size_t(std::min(o.chunk, rows) * classes) * sizeof(T)));
    auto* losses = static_cast<double*>(scratch(LOSSES, size_t(rows) * sizeof(double)));
    for (int64_t first = 0; first < rows; first += o.chunk) {
      const int64_t end = std::min(first + o.chunk, rows);
      const View logits{values, x.dtype == DType::F64 ? DType::F64 : DType::F32, 2, {end - first, classes}};
      linear(logits, x.part(first, end - first), w, bias, o.compute, Rope{});
      for_pieces(end - first, ROWS, [&](int64_t begin, int64_t stop, int64_t) {
        for (int64_t r = begin; r < stop; ++r) {
          T* z = values + r * classes;
          const int32_t label = labels.as<int32_t>()[first + r];
          const bool counts = label != o.ignore_index;
          losses[first + r] = counts ? row_loss(z, label, classes, o, bool(dx)) : 0;
          if (!counts && dx) std::fill(z, z + classes, T(0));
        }
      });
      if (dx) matmul(dx.part(first, end - first), logits, w, false, false, o.compute);
    }
    const auto store = [&](const View& to, const double* from, int64_t count, double scale) {
      double sum = 0;
      for (int64_t r = 0; r < count; ++r) sum += from[r];
      store_scalar(to, scale * sum);
    };
    if (!o.count) store(loss, losses, rows, o.scale);
    for (int32_t i = 0; i < o.count; losses += o.parts[i].rows, ++i)
      store(loss.part(i, 1), losses, o.parts[i].rows, o.parts[i].scale);
  });
}

void cpu::linear_cross_entropy_backward(View scaled, View dloss, View dx, double scale) {
  cpu::scale(scaled, dx, scale * load_scalar(dloss));
}

}  // namespace lowrank
