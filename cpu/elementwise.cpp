#include "core/kernels.h"
#include "cpu/dispatch.h"
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

void cpu::add(View y, View a, View b) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(y.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>)
        return row_kernels().add(y.as<float>() + begin, a.as<float>() + begin, b.as<float>() + begin, end - begin);
      for (int64_t i = begin; i < end; ++i) y.as<T>()[i] = a.as<T>()[i] + b.as<T>()[i];
    });
  });
}

void cpu::multiply(View y, View a, View b) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(y.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>)
        return row_kernels().multiply(y.as<float>() + begin, a.as<float>() + begin, b.as<float>() + begin, end - begin);
      for (int64_t i = begin; i < end; ++i) y.as<T>()[i] = a.as<T>()[i] * b.as<T>()[i];
    });
  });
}

void cpu::accumulate_all(Accumulations list) {
  for (int i = 0; i < list.count; ++i) accumulate(list.pair[i].y, list.pair[i].x, 1);
}

void cpu::accumulate(View y, View x, double alpha) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(y.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>)
        return row_kernels().accumulate(y.as<float>() + begin, x.as<float>() + begin, float(alpha), end - begin);
      for (int64_t i = begin; i < end; ++i) y.as<T>()[i] += T(alpha) * x.as<T>()[i];
    });
  });
}

void cpu::scale(View y, View x, double alpha) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(y.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>)
        return row_kernels().scale(y.as<float>() + begin, x.as<float>() + begin, float(alpha), end - begin);
      for (int64_t i = begin; i < end; ++i) y.as<T>()[i] = T(alpha) * x.as<T>()[i];
    });
  });
}

}  // namespace lowrank
