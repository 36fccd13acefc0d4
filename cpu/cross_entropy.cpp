// loss = scale * sum over rows of (1 - eps) w[y] nll(y) + eps / C sum_c w[c] nll(c),  nll(c) = lse - x[c].
#include <cmath>
#include <limits>

#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/half.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank {
namespace {

using namespace cpu;

template <typename T>
double log_sum_exp(const T* x, int64_t count) {
  if constexpr (std::is_same_v<T, float>) {
    float maximum;
    double sum;
    row_kernels().exp_sum(x, count, &maximum, &sum);
    return std::isinf(maximum) && maximum < 0 ? double(maximum) : double(maximum) + std::log(sum);
  }
  T maximum = x[0];
  for (int64_t c = 1; c < count; ++c) maximum = x[c] > maximum || x[c] != x[c] ? x[c] : maximum;
  if (std::isinf(maximum) && maximum < 0) return maximum;
  double sum = 0;
  for (int64_t c = 0; c < count; ++c) sum += std::exp(double(x[c]) - double(maximum));
  return double(maximum) + std::log(sum);
}

template <typename T>
double row_loss(const T* x, double lse, int32_t label, const T* w, int64_t classes, double smoothing) {
  double loss = (1 - smoothing) * (w ? double(w[label]) : 1.0) * (lse - double(x[label]));
  if (smoothing == 0) return loss;
  double all = 0;
  for (int64_t c = 0; c < classes; ++c) all += (w ? double(w[c]) : 1.0) * (lse - double(x[c]));
  return loss + smoothing / double(classes) * all;
}

// dx[c] = (on + each sum w) p[c] - each w[c] - [c = label] on:  on = (1 - eps) w[label], each = eps / C
template <typename T>
void row_gradient(T* dx, const T* x, double lse, int32_t label, const T* w, int64_t classes, double smoothing,
                  double upstream) {
  const double on = (1 - smoothing) * (w ? double(w[label]) : 1.0), each = smoothing / double(classes);
  double total = double(classes);
  if (w && each != 0) {
    total = 0;
    for (int64_t c = 0; c < classes; ++c) total += double(w[c]);
  }
  if constexpr (std::is_same_v<T, float>) {
    row_kernels().softmax_gradient(dx, x, w, float(lse), float(upstream * (on + each * total)), float(upstream * each),
                                   classes);
    dx[label] -= float(upstream * on);
    return;
  }
  for (int64_t c = 0; c < classes; ++c) {
    const double p = std::exp(double(x[c]) - lse);
    const double g = (on + each * total) * p - each * (w ? double(w[c]) : 1.0) - (c == label ? on : 0.0);
    dx[c] = T(upstream * g);
  }
}

}  // namespace

void cpu::cross_entropy(View loss, View lse, View logits, View labels, View weights, CrossEntropy options) {
  if (runs_wide(2, cpu::cross_entropy, loss, lse, logits, labels, weights, options)) return;
  dispatch(logits, [&](auto zero) {
    using T = decltype(zero);
    const int64_t classes = logits.cols();
    const Weight<T> w(weights);
    const double sum = sum_pieces(logits.rows(), PIECE_ROWS, [&](int64_t begin, int64_t end) {
      double total = 0;
      for (int64_t r = begin; r < end; ++r) {
        const T* x = logits.as<T>() + r * classes;
        const int32_t label = labels.as<int32_t>()[r];
        const bool ignored = label == options.ignore_index;
        const double norm = ignored ? 0.0 : log_sum_exp(x, classes);
        lse.as<T>()[r] = T(norm);
        if (!ignored) total += row_loss(x, norm, label, w.data, classes, options.smoothing);
      }
      return total;
    });
    store_scalar(loss, options.scale * sum);
  });
}

void cpu::cross_entropy_backward(View dlogits, View dloss, View logits, View labels, View weights, View lse,
                                 CrossEntropy options) {
  if (runs_wide(1, cpu::cross_entropy_backward, dlogits, dloss, logits, labels, weights, lse, options)) return;
  dispatch(logits, [&](auto zero) {
    using T = decltype(zero);
    const int64_t classes = logits.cols();
    const double upstream = options.scale * load_scalar(dloss);
    const Weight<T> w(weights);
    for_pieces(logits.rows(), PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t r = begin; r < end; ++r) {
        T* dx = dlogits.as<T>() + r * classes;
        const int32_t label = labels.as<int32_t>()[r];
        if (label == options.ignore_index) {
          for (int64_t c = 0; c < classes; ++c) dx[c] = 0;
          continue;
        }
        row_gradient(dx, logits.as<T>() + r * classes, double(lse.as<T>()[r]), label, w.data, classes,
                     options.smoothing, upstream);
      }
    });
  });
}

}  // namespace lowrank
