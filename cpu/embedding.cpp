#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/half.h"
#include "cpu/pieces.h"
#include "cpu/quantized.h"
#include "cpu/vector/rows.h"

namespace lowrank {
namespace {

constexpr int64_t PIECE_COLUMNS = 64;

// Rows of blocks are whole blocks.
void embed_blocks(const View& y, const View& table, const View& ids) {
  const int64_t cols = table.cols();
  cpu::for_pieces(ids.size(), cpu::PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
    auto* copy = static_cast<float*>(cpu::scratch(6, size_t(cols) * sizeof(float)));
    for (int64_t r = begin; r < end; ++r) {
      const int64_t from = int64_t(ids.as<int32_t>()[r]) * cols;
      cpu::dequantize(table, from, from + cols, cpu::target(y, r * cols, copy));
      cpu::round(y, r * cols, cols, copy);
    }
  });
}

}  // namespace

void cpu::embedding(View y, View table, View ids) {
  if (is_blocks(table.dtype)) return embed_blocks(y, table, ids);
  dispatch_float(y, [&](auto zero) {
    using T = decltype(zero);
    dispatch_float(table, [&](auto stored) {
      using S = decltype(stored);
      const int64_t cols = table.cols();
      for_pieces(ids.size(), PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t r = begin; r < end; ++r) {
          const S* row = table.as<S>() + int64_t(ids.as<int32_t>()[r]) * cols;
          T* out = y.as<T>() + r * cols;
          for (int64_t c = 0; c < cols; ++c) out[c] = Convert<T>::from(row[c]);
        }
      });
    });
  });
}

// Each piece owns some columns and walks all ids in order, so no two threads meet in one sum.
void cpu::embedding_backward(View dtable, View dy, View ids) {
  if (is_bf16(dtable)) {
    const Wide sums(dtable, false);
    embedding_backward(sums.view, dy, ids);
    return sums.round();
  }
  dispatch(dy, [&](auto zero) {
    using T = decltype(zero);
    const int64_t cols = dtable.cols(), count = ids.size();
    fill(dtable, 0);
    for_pieces(cols, PIECE_COLUMNS, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t r = 0; r < count; ++r) {
        T* sum = dtable.as<T>() + int64_t(ids.as<int32_t>()[r]) * cols;
        if constexpr (std::is_same_v<T, float>) {
          float copy[PIECE_COLUMNS];
          row_kernels().add(sum + begin, sum + begin, read(dy, r * cols + begin, end - begin, copy), end - begin);
        } else
          for (int64_t c = begin; c < end; ++c) sum[c] += dy.as<T>()[r * cols + c];
      }
    });
  });
}

}  // namespace lowrank
