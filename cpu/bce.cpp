// Binary cross-entropy of logits:  w t softplus(-x) + (1 - t) softplus(x), w = 1 without positive weights.
#include <cmath>

#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/half.h"
#include "cpu/pieces.h"

namespace lowrank {
namespace {

// log(1 + e^x) without overflow.
double softplus(double x) { return (x > 0 ? x : 0.0) + std::log1p(std::exp(-std::fabs(x))); }

double sigmoid(double x) {
  const double e = std::exp(-std::fabs(x));
  return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

}  // namespace

void cpu::bce(View loss, View logits, View targets, View positive_weights, double scale) {
  if (runs_wide(1, cpu::bce, loss, logits, targets, positive_weights, scale)) return;
  dispatch(logits, [&](auto zero) {
    using T = decltype(zero);
    const int64_t cols = logits.cols();
    const Weight<T> w(positive_weights);
    const double sum = sum_pieces(logits.rows(), PIECE_ROWS, [&](int64_t begin, int64_t end) {
      double total = 0;
      for (int64_t i = begin * cols; i < end * cols; ++i) {
        const double x = double(logits.as<T>()[i]), t = double(targets.as<T>()[i]);
        total += (w.data ? double(w.data[i % cols]) : 1.0) * t * softplus(-x) + (1 - t) * softplus(x);
      }
      return total;
    });
    store_scalar(loss, scale * sum);
  });
}

void cpu::bce_backward(View dlogits, View dloss, View logits, View targets, View positive_weights, double scale) {
  if (runs_wide(1, cpu::bce_backward, dlogits, dloss, logits, targets, positive_weights, scale)) return;
  dispatch(logits, [&](auto zero) {
    using T = decltype(zero);
    const int64_t cols = logits.cols();
    const double upstream = scale * load_scalar(dloss);
    const Weight<T> w(positive_weights);
    for_pieces(logits.rows(), PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t i = begin * cols; i < end * cols; ++i) {
        const double x = double(logits.as<T>()[i]), t = double(targets.as<T>()[i]);
        const double positive = (w.data ? double(w.data[i % cols]) : 1.0) * t;
        dlogits.as<T>()[i] = T(upstream * ((1 - t) * sigmoid(x) - positive * sigmoid(-x)));
      }
    });
  });
}

}  // namespace lowrank
