#include <cmath>

#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/half.h"
#include "cpu/philox.h"
#include "cpu/row_masks.h"

namespace lowrank {
namespace {

using namespace cpu;

template <typename T>
void forward_row(T* y, T* mean, T* rstd, const T* h, const T* w, const T* b, int64_t cols, double eps) {
  T sum = 0, squares = 0;
  for (int64_t c = 0; c < cols; ++c) sum += h[c];
  const T mu = sum / T(cols);
  for (int64_t c = 0; c < cols; ++c) squares += (h[c] - mu) * (h[c] - mu);
  const T inverse = 1 / std::sqrt(squares / T(cols) + T(eps));
  for (int64_t c = 0; c < cols; ++c) y[c] = (h[c] - mu) * inverse * (w ? w[c] : T(1)) + (b ? b[c] : T(0));
  *mean = mu, *rstd = inverse;
}

// g = rstd (dy w - mean(dy w) - xhat mean(dy w xhat)) + dh;  dw += dy xhat;  db += dy
template <typename T>
void backward_row(T* g, T* dw, T* db, const T* dy, const T* dh, const T* h, const T* w, T mean, T rstd, int64_t cols) {
  T sum = 0, dot = 0;
  for (int64_t c = 0; c < cols; ++c) {
    const T xhat = (h[c] - mean) * rstd, a = dy[c] * (w ? w[c] : T(1));
    sum += a;
    dot += a * xhat;
    if (dw) dw[c] += dy[c] * xhat;
    if (db) db[c] += dy[c];
  }
  for (int64_t c = 0; c < cols; ++c) {
    const T xhat = (h[c] - mean) * rstd, a = dy[c] * (w ? w[c] : T(1));
    g[c] = rstd * (a - sum / T(cols) - xhat * dot / T(cols)) + (dh ? dh[c] : T(0));
  }
}

template <typename T>
void forward(const View& y, const View& h, const View& mean, const View& rstd, const View& x, const View& residual,
             const View& w, const View& b, double eps, const Dropout& dropout) {
  const int64_t cols = x.cols();
  const Weight<T> weight(w), bias(b);
  for_pieces(x.rows(), PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
    T* row = static_cast<T*>(scratch(6, size_t(cols) * sizeof(T)));
    for (int64_t r = begin; r < end; ++r) {
      drop_row(row, x.as<T>() + r * cols, cols, dropout, r);
      for (int64_t c = 0; residual && c < cols; ++c) row[c] += residual.as<T>()[r * cols + c];
      if (h) std::memcpy(h.as<T>() + r * cols, row, size_t(cols) * sizeof(T));
      forward_row(y.as<T>() + r * cols, mean.as<T>() + r, rstd.as<T>() + r, row, weight.data, bias.data, cols, eps);
    }
  });
}

void forward_f32(const View& y, const View& h, const View& mean, const View& rstd, const View& x, const View& residual,
                 const View& w, const View& b, double eps, const Dropout& dropout) {
  const int64_t cols = x.cols();
  const Weight<float> weight(w), bias(b);
  for_pieces(x.rows(), PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
    const RowMasks masks(dropout, begin, end, cols);
    const bool same = !residual && !dropout.active();
    float* copies = row_copies(4, cols);
    for (int64_t r = begin; r < end; ++r) {
      const int64_t at = r * cols;
      const float* row = read(x, at, cols, copies);
      float* sums = h ? target(h, at, copies + cols) : same ? const_cast<float*>(row) : masks.row;
      float* out = target(y, at, copies + 2 * cols);
      row_kernels().layer_norm({out, sums, row, read(residual, at, cols, copies + 3 * cols), weight.data, bias.data,
                                masks[r], cols, eps, mean.as<float>() + r, rstd.as<float>() + r});
      round(h, at, cols, sums);
      round(y, at, cols, out);
    }
  });
}

// dw and db of rows [begin, end) are added to.
void backward_rows_f32(const View& dx, const View& dresidual, float* dw, float* db, const View& dy, const View& dh,
                       const View& h, const float* w, const View& mean, const View& rstd, const Dropout& dropout,
                       int64_t begin, int64_t end) {
  const int64_t cols = h.cols();
  const RowMasks masks(dropout, begin, end, cols);
  float* copies = row_copies(5, cols);
  for (int64_t r = begin; r < end; ++r) {
    const int64_t at = r * cols;
    float *to = target(dx, at, copies), *also = target(dresidual, at, copies + cols);
    row_kernels().layer_norm_backward({to, also, dw, db, read(dy, at, cols, copies + 2 * cols),
                                       read(dh, at, cols, copies + 3 * cols), read(h, at, cols, copies + 4 * cols), w,
                                       masks[r], cols, mean.as<float>()[r], rstd.as<float>()[r]});
    round(dx, at, cols, to);
    round(dresidual, at, cols, also);
  }
}

template <typename T>
void backward(const View& dx, const View& dresidual, const View& dw, const View& db, const View& dy, const View& dh,
              const View& h, const View& w, const View& mean, const View& rstd, const Dropout& dropout) {
  const int64_t rows = h.rows(), cols = h.cols(), pieces = ceil_div(rows, PIECE_ROWS);
  const Weight<T> weight(w);
  const auto at = [&](const View& view, int64_t r) { return view ? view.as<T>() + r * cols : nullptr; };
  T* partial = static_cast<T*>(scratch(7, size_t(pieces * 2 * cols) * sizeof(T)));
  for_pieces(rows, PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t piece) {
    T* sums = partial + piece * 2 * cols;
    for (int64_t c = 0; c < 2 * cols; ++c) sums[c] = 0;
    if constexpr (std::is_same_v<T, float>) {
      return backward_rows_f32(dx, dresidual, dw ? sums : nullptr, db ? sums + cols : nullptr, dy, dh, h, weight.data,
                               mean, rstd, dropout, begin, end);
    }
    T* row = static_cast<T*>(scratch(6, size_t(cols) * sizeof(T)));
    for (int64_t r = begin; r < end; ++r) {
      backward_row(row, sums, sums + cols, at(dy, r), at(dh, r), at(h, r), weight.data, mean.as<T>()[r],
                   rstd.as<T>()[r], cols);
      if (dx) drop_row(at(dx, r), row, cols, dropout, r);
      if (dresidual) std::memcpy(at(dresidual, r), row, size_t(cols) * sizeof(T));
    }
  });
  for (int64_t c = 0; (dw || db) && c < cols; ++c) {
    T w_sum = 0, b_sum = 0;
    for (int64_t p = 0; p < pieces; ++p) w_sum += partial[p * 2 * cols + c], b_sum += partial[(p * 2 + 1) * cols + c];
    if (dw) dw.as<T>()[c] = w_sum;
    if (db) db.as<T>()[c] = b_sum;
  }
}

}  // namespace

void cpu::layer_norm(View y, View h, View mean, View rstd, View x, View residual, View w, View b, double eps,
                     Dropout dropout) {
  if (x.dtype != DType::F64) return forward_f32(y, h, mean, rstd, x, residual, w, b, eps, dropout);
  dispatch(x, [&](auto zero) { forward<decltype(zero)>(y, h, mean, rstd, x, residual, w, b, eps, dropout); });
}

void cpu::layer_norm_backward(View dx, View dresidual, View dw, View db, View dy, View dh, View h, View w, View mean,
                              View rstd, Dropout dropout) {
  const Wide dweight(dw, false), dbias(db, false);
  dispatch(h, [&](auto zero) {
    backward<decltype(zero)>(dx, dresidual, dweight.view, dbias.view, dy, dh, h, w, mean, rstd, dropout);
  });
  dweight.round();
  dbias.round();
}

}  // namespace lowrank
