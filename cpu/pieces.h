#pragma once
// Fixed cuts of the work. They depend on sizes only, so sums over pieces are the same for any number of threads.
#include <vector>

#include "core/view.h"
#include "cpu/convert.h"
#include "cpu/parallel.h"

namespace lowrank::cpu {

constexpr int64_t PIECE_ROWS = 64;
constexpr int64_t PIECE_ELEMENTS = 32768;

// body(begin, end, piece) over pieces of at most `size` of [0, n).
template <typename F>
void for_pieces(int64_t n, int64_t size, F&& body) {
  parallel_for(ceil_div(n, size), [&](int64_t piece) {
    const int64_t begin = piece * size;
    body(begin, begin + size < n ? begin + size : n, piece);
  });
}

// Sum over pieces of body(begin, end), in f64 and in order.
template <typename F>
double sum_pieces(int64_t n, int64_t size, F&& body) {
  auto* partial = static_cast<double*>(scratch(7, size_t(ceil_div(n, size)) * sizeof(double)));
  for_pieces(n, size, [&](int64_t begin, int64_t end, int64_t piece) { partial[piece] = body(begin, end); });
  double total = 0;
  for (int64_t i = 0; i < ceil_div(n, size); ++i) total += partial[i];
  return total;
}

// A scalar result, f32 or f64 whatever the type of the inputs.
inline void store_scalar(const View& y, double value) {
  if (y.dtype == DType::F64) *y.as<double>() = value;
  else *y.as<float>() = float(value);
}

inline double load_scalar(const View& x) { return x.dtype == DType::F64 ? *x.as<double>() : *x.as<float>(); }

// A small weight (norm, bias) as T: the view's own memory, or a converted copy where it is stored in another format.
template <typename T>
struct Weight {
  explicit Weight(const View& w) {
    if (!w) return;
    dispatch_float(w, [&](auto zero) {
      using S = decltype(zero);
      if constexpr (std::is_same_v<S, T>) {
        data = w.as<T>();
      } else {
        copy.resize(size_t(w.size()));
        for (int64_t i = 0; i < w.size(); ++i) copy[size_t(i)] = Convert<T>::from(w.as<S>()[i]);
        data = copy.data();
      }
    });
  }
  const T* data = nullptr;
  std::vector<T> copy;
};

}  // namespace lowrank::cpu
