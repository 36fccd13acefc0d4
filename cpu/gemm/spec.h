#pragma once
// The specification of the products: one loop nest each, for f32 and f64. Every fast path is compared with these.
#include <cmath>
#include <cstring>
#include <vector>

#include "core/kernels.h"
#include "cpu/philox.h"
#include "cpu/quantized.h"

namespace lowrank::cpu::spec {

inline float from_bf16(uint16_t bits) {
  const uint32_t wide = uint32_t(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

// Nearest, ties to even.
inline float round_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (std::isnan(value)) return value;
  return from_bf16(uint16_t((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16));
}

// A matrix that is read as T, whatever it is stored as. `rounded`: compute is bf16.
template <typename T>
struct Reader {
  Reader(const View& view, Compute compute) : view(view), rounded(compute == Compute::BF16) {}
  T operator()(int64_t row, int64_t column) const {
    const int64_t i = row * view.cols() + column;
    if (view.dtype == DType::F64) return T(view.as<double>()[i]);
    float value;
    if (is_quantized(view.dtype)) dequantize(view, i, i + 1, &value);
    else value = view.dtype == DType::BF16 ? from_bf16(view.as<uint16_t>()[i]) : view.as<float>()[i];
    return T(rounded ? round_bf16(value) : value);
  }
  View view;
  bool rounded;
};

template <typename T>
void matmul(View y, View a, View b, bool transpose_a, bool transpose_b, Compute compute) {
  const Reader<T> read_a(a, compute), read_b(b, compute);
  const int64_t m = y.rows(), n = y.cols(), k = transpose_a ? a.rows() : a.cols();
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      T sum = 0;
      for (int64_t l = 0; l < k; ++l)
        sum += (transpose_a ? read_a(l, i) : read_a(i, l)) * (transpose_b ? read_b(j, l) : read_b(l, j));
      y.as<T>()[i * n + j] = sum;
    }
}

template <typename T>
void linear(View y, View x, View w, View bias, Compute compute) {
  matmul<T>(y, x, w, false, true, compute);
  if (!bias) return;
  for (int64_t i = 0, n = y.cols(); i < y.size(); ++i) y.as<T>()[i] += bias.as<T>()[i % n];
}

// x with the dropout multipliers applied.
template <typename T>
std::vector<T> dropped(View x, const Dropout& dropout) {
  const int64_t columns = x.cols();
  std::vector<T> out(x.as<T>(), x.as<T>() + x.size());
  if (!dropout.active()) return out;
  for (int64_t i = 0; i < x.rows(); ++i)
    for (int64_t j = 0; j < columns; ++j)
      out[i * columns + j] *=
          dropout_byte(dropout, uint64_t(i + dropout.row_offset), j) < dropout.keep ? T(dropout.multiplier()) : T(0);
  return out;
}

// The adapter's products are f32 (f64), whatever `compute` says about the frozen one.
template <typename T>
void lora_linear(View y, View s, View x, View w, View bias, View a, View b, double scale, Dropout dropout,
                 Compute compute) {
  std::vector<T> kept = dropped<T>(x, dropout);
  View masked = x;
  masked.data = kept.data();
  matmul<T>(s, masked, a, false, true, Compute::F32);
  for (int64_t i = 0; i < s.size(); ++i) s.as<T>()[i] *= T(scale);
  linear<T>(y, x, w, bias, compute);
  const int64_t n = y.cols(), r = s.cols();
  for (int64_t i = 0; i < y.rows(); ++i)
    for (int64_t j = 0; j < n; ++j) {
      T sum = 0;
      for (int64_t l = 0; l < r; ++l) sum += s.as<T>()[i * r + l] * b.as<T>()[j * r + l];
      y.as<T>()[i * n + j] += sum;
    }
}

template <typename T>
void lora_linear_backward(View dx, View da, View db, View dy, View x, View w, View a, View b, View s, double scale,
                          Dropout dropout, Compute compute) {
  const int64_t r = a.rows();
  std::vector<T> t_data(size_t(dy.rows() * r));
  View t = dy;
  t.data = t_data.data();
  t.rank = 2, t.dims[0] = dy.rows(), t.dims[1] = r;
  matmul<T>(t, dy, b, false, false, Compute::F32);
  for (T& value : t_data) value *= T(scale);
  if (db) matmul<T>(db, dy, s, true, false, Compute::F32);
  if (da) {
    std::vector<T> kept = dropped<T>(x, dropout);
    View masked = x;
    masked.data = kept.data();
    matmul<T>(da, t, masked, true, false, Compute::F32);
  }
  if (!dx) return;
  std::vector<T> slab(size_t(dx.size()));
  View ta = dx;
  ta.data = slab.data();
  matmul<T>(ta, t, a, false, false, Compute::F32);
  slab = dropped<T>(ta, dropout);
  matmul<T>(dx, dy, w, false, false, compute);
  for (int64_t i = 0; i < dx.size(); ++i) dx.as<T>()[i] += slab[size_t(i)];
}

}  // namespace lowrank::cpu::spec
