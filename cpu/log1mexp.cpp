// log(1 - e^x) of log-probabilities. Its tensors have a number an answer, so there is no vector code of it.
#include <cmath>

#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/half.h"
#include "cpu/pieces.h"

namespace lowrank {
namespace {

// What x above it counts as: a probability that rounds to 1 in f32 has no finite odds.
constexpr double LARGEST = -0x1p-24;

// Each of two forms keeps all digits on its side of -log 2 (Maechler 2012).
double value_of(double x) {
  x = x > LARGEST ? LARGEST : x;
  return x > -0.6931471805599453 ? std::log(-std::expm1(x)) : std::log1p(-std::exp(x));
}

double slope_of(double x) { return -1 / std::expm1(-(x > LARGEST ? LARGEST : x)); }

}  // namespace

void cpu::log1mexp(View y, View x) {
  if (runs_wide(1, cpu::log1mexp, y, x)) return;
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(y.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t i = begin; i < end; ++i) y.as<T>()[i] = T(value_of(double(x.as<T>()[i])));
    });
  });
}

void cpu::log1mexp_backward(View dx, View dy, View x) {
  if (runs_wide(1, cpu::log1mexp_backward, dx, dy, x)) return;
  dispatch(dx, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(dx.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t i = begin; i < end; ++i) dx.as<T>()[i] = T(double(dy.as<T>()[i]) * slope_of(double(x.as<T>()[i])));
    });
  });
}

}  // namespace lowrank
