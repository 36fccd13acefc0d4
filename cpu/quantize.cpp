// Weights to I8 and NF4, with the codes that bitsandbytes chooses, and back. The scalar body is the only one: a weight
// is quantised once, when it is loaded.

#include <cmath>

#include "core/kernels.h"
#include "cpu/pieces.h"
#include "cpu/quantized.h"

namespace lowrank {
namespace {

using namespace cpu;

// Between two neighbouring values of a map in ascending order, the lower one wins the middle.
template <int N>
struct Nearest {
  explicit Nearest(const float (&map)[N]) {
    for (int i = 0; i + 1 < N; ++i) middle[i] = (map[i] + map[i + 1]) / 2;
  }
  int operator()(float x) const { return int(std::lower_bound(middle, middle + N - 1, x) - middle); }
  float middle[N - 1];
};

float reciprocal(float absmax) { return 1 / std::max(absmax, SMALLEST_ABSMAX); }

float absmax_between(const float* x, int64_t begin, int64_t end) {
  float most = 0;
  for (int64_t i = begin; i < end; ++i) most = std::max(most, std::fabs(x[i]));
  return most;
}

void quantize_int8(const View& y, const View& x) {
  const Int8Weight w(y);
  const int64_t columns = x.cols();
  for_pieces(x.rows(), PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x.as<float>() + row * columns;
      const float absmax = absmax_between(from, 0, columns), factor = 127 / std::max(absmax, SMALLEST_INT8_ABSMAX);
      w.absmax[row] = absmax;
      for (int64_t i = 0; i < columns; ++i) w.codes[row * columns + i] = int8_t(std::nearbyint(from[i] * factor));
    }
  });
}

// Codes of blocks [begin, end), and their absmax in f32.
void quantize_blocks(const Nf4Weight& w, const View& x, int64_t begin, int64_t end, float* absmax) {
  static const Nearest<16> nearest(NF4_MAP);
  const int64_t n = x.size();
  for (int64_t block = begin; block < end; ++block) {
    const int64_t first = block * NF4_BLOCK, last = std::min(first + NF4_BLOCK, n);
    absmax[block] = absmax_between(x.as<float>(), first, last);
    const float factor = reciprocal(absmax[block]);
    const auto code = [&](int64_t i) {
      return nearest(i < last ? std::clamp(x.as<float>()[i] * factor, -1.0f, 1.0f) : 0.0f);
    };
    for (int64_t i = first; i < last; i += 2) w.codes[i / 2] = uint8_t(code(i) << 4 | code(i + 1));
  }
}

// The mean, summed in f64 by 256 lanes and then in a tree: an order that a block of threads can follow.
float mean(const float* x, int64_t n) {
  double lanes[NF4_NESTED] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i % NF4_NESTED] += x[i];
  for (int64_t half = NF4_NESTED / 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return n ? float(lanes[0] / double(n)) : 0;
}

void quantize_scales(const Nf4Weight& w, const float* absmax, int64_t begin, int64_t end) {
  static const Nearest<256> nearest(DYNAMIC_MAP);
  float most = 0;
  for (int64_t i = begin; i < end; ++i) most = std::max(most, std::fabs(absmax[i] - *w.offset));
  w.nested[begin / NF4_NESTED] = most;
  const float factor = reciprocal(most);
  for (int64_t i = begin; i < end; ++i)
    w.scales[i] = uint8_t(nearest(std::clamp((absmax[i] - *w.offset) * factor, -1.0f, 1.0f)));
}

void quantize_nf4(const View& y, const View& x) {
  const Nf4Weight w(y);
  auto* absmax = static_cast<float*>(scratch(7, size_t(w.blocks + 16) * sizeof(float)));
  for_pieces(w.blocks, NF4_NESTED,
             [&](int64_t begin, int64_t end, int64_t) { quantize_blocks(w, x, begin, end, absmax); });
  *w.offset = mean(absmax, w.blocks);
  for_pieces(w.blocks, NF4_NESTED,
             [&](int64_t begin, int64_t end, int64_t) { quantize_scales(w, absmax, begin, end); });
}

}  // namespace

void cpu::quantize(View y, View x) {
  if (y.dtype == DType::NF4) quantize_nf4(y, x);
  else quantize_int8(y, x);
}

void cpu::dequantize(View y, View w) {
  dispatch_float(y, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(y.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>) return dequantize(w, begin, end, y.as<float>() + begin);
      constexpr int64_t RUN = 1024;
      float run[RUN];
      for (int64_t i = begin; i < end; i += RUN) {
        const int64_t stop = std::min(i + RUN, end);
        dequantize(w, i, stop, run);
        for (int64_t j = i; j < stop; ++j) y.as<T>()[j] = Convert<T>::from(run[j - i]);
      }
    });
  });
}

}  // namespace lowrank
