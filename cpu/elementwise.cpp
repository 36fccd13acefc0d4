#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/half.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank {

void cpu::fill(View y, double value) {
  const auto run = [&](auto element) {
    using T = decltype(element);
    for_pieces(y.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t i = begin; i < end; ++i) y.as<T>()[i] = element;
    });
  };
  switch (y.dtype) {
    case DType::F32: return run(float(value));
    case DType::F64: return run(value);
    case DType::BF16: return run(Convert<Bf16>::from(value));
    case DType::F16: return run(Convert<F16>::from(value));
    case DType::I32: return run(int32_t(value));
    case DType::I64: return run(int64_t(value));
    case DType::U8: return run(uint8_t(value));
    default: break;  // quantised weights are not filled
  }
}

namespace cpu {
namespace {

// y = f(a, b) by `fast`, or in T: elementwise, or with b as every row of a.
template <typename F, typename Fast>
void map_pair(View y, View a, View b, F f, Fast fast) {
  const bool is_row = b.size() != a.size();
  const int64_t width = is_row ? a.cols() : 1, piece = is_row ? PIECE_ROWS : PIECE_ELEMENTS;
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(y.size() / width, piece, [&](int64_t begin, int64_t end, int64_t) {
      const auto run = [&](int64_t at, int64_t b_at, int64_t n) {
        if constexpr (std::is_same_v<T, float>)
          return for_stretches(y, 0, n, [&](int64_t i, int64_t count) {
            float to[STRETCH], p[STRETCH], q[STRETCH];
            fast(target(y, at + i, to), read(a, at + i, count, p), read(b, b_at + i, count, q), count);
            round(y, at + i, count, to);
          });
        for (int64_t i = 0; i < n; ++i) y.as<T>()[at + i] = f(a.as<T>()[at + i], b.as<T>()[b_at + i]);
      };
      if (!is_row) return run(begin, begin, end - begin);
      for (int64_t r = begin; r < end; ++r) run(r * width, 0, width);
    });
  });
}

}  // namespace
}  // namespace cpu

void cpu::add(View y, View a, View b) {
  map_pair(
      y, a, b, [](auto p, auto q) { return p + q; }, row_kernels().add);
}

void cpu::multiply(View y, View a, View b) {
  map_pair(
      y, a, b, [](auto p, auto q) { return p * q; }, row_kernels().multiply);
}

void cpu::accumulate_all(Accumulations list) {
  for (int i = 0; i < list.count; ++i) accumulate(list.pair[i].y, list.pair[i].x, 1);
}

void cpu::accumulate(View y, View x, double alpha) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(y.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>)
        return for_stretches(y, begin, end, [&](int64_t at, int64_t n) {
          float sum[STRETCH], p[STRETCH];
          auto* to = const_cast<float*>(read(y, at, n, sum));
          row_kernels().accumulate(to, read(x, at, n, p), float(alpha), n);
          round(y, at, n, to);
        });
      for (int64_t i = begin; i < end; ++i) y.as<T>()[i] += T(alpha) * x.as<T>()[i];
    });
  });
}

void cpu::scale(View y, View x, double alpha) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(y.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>)
        return for_stretches(y, begin, end, [&](int64_t at, int64_t n) {
          float to[STRETCH], p[STRETCH];
          row_kernels().scale(target(y, at, to), read(x, at, n, p), float(alpha), n);
          round(y, at, n, to);
        });
      for (int64_t i = begin; i < end; ++i) y.as<T>()[i] = T(alpha) * x.as<T>()[i];
    });
  });
}

}  // namespace lowrank
