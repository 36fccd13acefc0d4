// h = drop(x) + residual?;  y = h rstd (w + offset), rstd = 1 / sqrt(mean(h^2) + eps)  (Zhang and Sennrich 2019).
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
void forward_row(T* y, T* rstd, const T* h, const T* w, T offset, int64_t cols, double eps) {
  T squares = 0;
  for (int64_t c = 0; c < cols; ++c) squares += h[c] * h[c];
  const T inverse = 1 / std::sqrt(squares / T(cols) + T(eps));
  for (int64_t c = 0; c < cols; ++c) y[c] = h[c] * inverse * (w[c] + offset);
  *rstd = inverse;
}

// dx = rstd (a - hhat mean(a hhat)) + dh,  a = dy (w + offset), hhat = h rstd;  dw += dy hhat
template <typename T>
void backward_row(T* dx, T* dw, const T* dy, const T* dh, const T* h, const T* w, T offset, T rstd, int64_t cols) {
  T dot = 0;
  for (int64_t c = 0; c < cols; ++c) {
    dot += dy[c] * (w[c] + offset) * h[c] * rstd;
    if (dw) dw[c] += dy[c] * h[c] * rstd;
  }
  for (int64_t c = 0; dx && c < cols; ++c)
    dx[c] = rstd * (dy[c] * (w[c] + offset) - h[c] * rstd * dot / T(cols)) + (dh ? dh[c] : T(0));
}

template <typename T>
void forward(const View& y, const View& h, const View& rstd, const View& x, const View& residual, const View& w,
             double offset, double eps, const Dropout& dropout) {
  const int64_t cols = x.cols();
  const Weight<T> weight(w);
  for_pieces(x.rows(), PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) {
      const T* row = x.as<T>() + r * cols;
      if (h) {
        T* sum = h.as<T>() + r * cols;
        drop_row(sum, row, cols, dropout, r);
        for (int64_t c = 0; residual && c < cols; ++c) sum[c] += residual.as<T>()[r * cols + c];
        row = sum;
      }
      forward_row(y.as<T>() + r * cols, rstd.as<T>() + r, row, weight.data, T(offset), cols, eps);
    }
  });
}

void forward_f32(const View& y, const View& h, const View& rstd, const View& x, const View& residual, const View& w,
                 double offset, double eps, const Dropout& dropout) {
  const int64_t cols = x.cols();
  const Weight<float> weight(w);
  for_pieces(x.rows(), PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
    const RowMasks masks(dropout, begin, end, cols);
    float* copies = row_copies(4, cols);
    for (int64_t r = begin; r < end; ++r) {
      const int64_t at = r * cols;
      const float* row = read(x, at, cols, copies);
      float *sums = h ? target(h, at, copies + cols) : const_cast<float*>(row), *out = target(y, at, copies + 2 * cols);
      row_kernels().rms_norm({out, sums, row, read(residual, at, cols, copies + 3 * cols), weight.data, masks[r],
                              float(offset), cols, eps, rstd.as<float>() + r});
      round(h, at, cols, sums);
      round(y, at, cols, out);
    }
  });
}

// Rows [begin, end); sums is null where nobody wants dw.
template <typename T>
void backward_rows(const View& dx, T* sums, const View& dy, const View& dh, const View& h, const T* w, const View& rstd,
                   T offset, int64_t begin, int64_t end) {
  const int64_t cols = h.cols();
  for (int64_t c = 0; sums && c < cols; ++c) sums[c] = 0;
  T* copies = row_copies<T>(4, cols);
  for (int64_t r = begin; r < end; ++r) {
    const T inverse = rstd.as<T>()[r];
    const int64_t at = r * cols;
    T* to = target(dx, at, copies);
    const T *dy_row = read(dy, at, cols, copies + cols), *dh_row = read(dh, at, cols, copies + 2 * cols);
    const T* h_row = read(h, at, cols, copies + 3 * cols);
    if constexpr (std::is_same_v<T, float>)
      row_kernels().rms_norm_backward({to, sums, dy_row, dh_row, h_row, w, offset, cols, inverse});
    else backward_row(to, sums, dy_row, dh_row, h_row, w, offset, inverse, cols);
    round(dx, at, cols, to);
  }
}

template <typename T>
void backward(const View& dx, const View& dw, const View& dy, const View& dh, const View& h, const View& w,
              const View& rstd, T offset) {
  const int64_t rows = h.rows(), cols = h.cols(), pieces = ceil_div(rows, PIECE_ROWS);
  const Weight<T> weight(w);
  T* partial = dw ? static_cast<T*>(scratch(7, size_t(pieces * cols) * sizeof(T))) : nullptr;
  for_pieces(rows, PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t piece) {
    T* sums = partial ? partial + piece * cols : nullptr;
    backward_rows(dx, sums, dy, dh, h, weight.data, rstd, offset, begin, end);
  });
  for (int64_t c = 0; dw && c < cols; ++c) {
    T sum = 0;
    for (int64_t p = 0; p < pieces; ++p) sum += partial[p * cols + c];
    dw.as<T>()[c] = sum;
  }
}

}  // namespace

void cpu::rms_norm(View y, View h, View rstd, View x, View residual, View w, double offset, double eps,
                   Dropout dropout) {
  if (x.dtype != DType::F64) return forward_f32(y, h, rstd, x, residual, w, offset, eps, dropout);
  dispatch(x, [&](auto zero) { forward<decltype(zero)>(y, h, rstd, x, residual, w, offset, eps, dropout); });
}

void cpu::rms_norm_backward(View dx, View dw, View dy, View dh, View h, View w, View rstd, double offset) {
  const Wide dweight(dw, false);
  dispatch(h, [&](auto zero) {
    using T = decltype(zero);
    backward<T>(dx, dweight.view, dy, dh, h, w, rstd, T(offset));
  });
  dweight.round();
}

}  // namespace lowrank
