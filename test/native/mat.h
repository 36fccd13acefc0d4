#pragma once
// Matrices between guard bands, random contents, and the one comparison of the native tests.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/kernels.h"

namespace lowrank::test {

inline int failures = 0;

inline void expect(bool ok, const std::string& what) {
  if (ok) return;
  if (++failures <= 40) std::printf("FAILED %s\n", what.c_str());
}

// xorshift64*: the same numbers on every machine.
struct Random {
  double uniform() {
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return double((state * 2685821657736338717ull) >> 11) * 0x1p-53;
  }
  double normal() { return std::sqrt(-2 * std::log(uniform() + 1e-300)) * std::cos(6.283185307179586 * uniform()); }
  uint64_t state = 88172645463325252ull;
};

template <typename T>
constexpr DType dtype_of = DType::F32;
template <>
inline constexpr DType dtype_of<double> = DType::F64;
template <>
inline constexpr DType dtype_of<int32_t> = DType::I32;

template <typename T>
struct Mat {
#if defined(__SANITIZE_ADDRESS__)
  static constexpr size_t GUARD = 0;  // the sanitizer guards both ends, against reads too
#else
  static constexpr size_t GUARD = 64;
#endif

  Mat() = default;
  Mat(int64_t rows, int64_t cols) : rows(rows), cols(cols), bytes(new unsigned char[size() * sizeof(T) + 2 * GUARD]) {
    std::memset(bytes.get(), 0xcd, GUARD);
    std::memset(bytes.get() + GUARD + size() * sizeof(T), 0xcd, GUARD);
    for (size_t i = 0; i < size(); ++i) data()[i] = T(0);
  }
  Mat(int64_t rows, int64_t cols, const std::vector<T>& values) : Mat(rows, cols) {
    for (size_t i = 0; i < values.size(); ++i) data()[i] = values[i];
  }

  size_t size() const { return size_t(rows * cols); }
  T* data() const { return reinterpret_cast<T*>(bytes.get() + GUARD); }
  T& operator[](size_t i) const { return data()[i]; }
  // Absent (no rows) gives a view without data.
  View view() const {
    View v;
    if (!bytes) return v;
    v.data = data(), v.dtype = dtype_of<T>, v.rank = 2, v.dims[0] = rows, v.dims[1] = cols;
    return v;
  }
  View flat() const {
    View v = view();
    v.rank = 1, v.dims[0] = rows * cols;
    return v;
  }
  bool guarded() const {
    for (size_t i = 0; bytes && i < GUARD; ++i)
      if (bytes[i] != 0xcd || bytes[GUARD + size() * sizeof(T) + i] != 0xcd) return false;
    return true;
  }
  template <typename U>
  Mat<U> as() const {
    if (!bytes) return {};
    Mat<U> y(rows, cols);
    for (size_t i = 0; i < size(); ++i) y[i] = U((*this)[i]);
    return y;
  }

  int64_t rows = 0, cols = 0;
  std::shared_ptr<unsigned char[]> bytes;
};

// Values that f32 holds exactly, so that f32 and f64 see the same input.
inline Mat<double> random_mat(Random& random, int64_t rows, int64_t cols, double scale = 1) {
  Mat<double> m(rows, cols);
  for (size_t i = 0; i < m.size(); ++i) m[i] = double(float(scale * random.normal()));
  return m;
}

struct Tolerance {
  double relative = 2e-6, absolute = 1e-6;
};

// got against want: |error| <= absolute * (largest |want|) + relative * |want|. Says where the worst is and what share
// of the allowed error it took. Infinities and NaN must be the same.
template <typename T>
void compare(const std::string& name, const Mat<T>& got, const Mat<double>& want, Tolerance tolerance) {
  expect(got.guarded(), name + ": wrote outside");
  double largest = 0, worst = -1;
  size_t where = 0;
  for (size_t i = 0; i < want.size(); ++i)
    if (std::isfinite(want[i])) largest = std::fmax(largest, std::fabs(want[i]));
  for (size_t i = 0; i < want.size(); ++i) {
    const double g = double(got[i]), w = want[i];
    double share;
    if (!std::isfinite(w) || !std::isfinite(g)) share = g == w || (g != g && w != w) ? 0 : INFINITY;
    else share = std::fabs(g - w) / (tolerance.absolute * largest + tolerance.relative * std::fabs(w) + 1e-40);
    if (share > worst) worst = share, where = i;
  }
  if (worst <= 1) return;
  char text[160];
  std::snprintf(text, sizeof text, ": at %zu got %.9g, expected %.9g, %.3g of the allowed error", where,
                double(got[where]), want[where], worst);
  expect(false, name + text);
}

}  // namespace lowrank::test
