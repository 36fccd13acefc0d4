// 1 / |w + s b a| by rows of w [out, in], without anything of [out, in]:
// |w + s b a|^2 = |w|^2 + 2 s b (a w^T) + s^2 b (a a^T) b^T: 2 r (r + 2) operations a row, so there is no vector code.
#include <algorithm>
#include <cmath>

#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/pieces.h"

namespace lowrank {
namespace {

// A row of zeros has a huge inverse, no infinite one.
constexpr double LEAST = 1e-30;

}  // namespace

void cpu::inverse_norms(View y, View squares, View wa, View gram, View b, double scale) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    const int64_t out = b.rows(), r = b.cols();
    for_pieces(out, PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t o = begin; o < end; ++o) {
        const T* row = b.as<T>() + o * r;
        double sum = 0;
        for (int64_t i = 0; i < r; ++i) {
          double inner = 2 * double(wa.as<T>()[i * out + o]);
          for (int64_t j = 0; j < r; ++j) inner += scale * double(gram.as<T>()[i * r + j]) * double(row[j]);
          sum += inner * double(row[i]);
        }
        y.as<T>()[o] = T(1 / std::sqrt(std::max(LEAST, double(squares.as<T>()[o]) + scale * sum)));
      }
    });
  });
}

}  // namespace lowrank
