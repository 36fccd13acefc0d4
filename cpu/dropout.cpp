#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/half.h"
#include "cpu/philox.h"
#include "cpu/row_masks.h"

namespace lowrank {

void cpu::dropout(View y, View x, Dropout dropout) {
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    const int64_t cols = x.cols();
    const T multiplier = T(dropout.multiplier());
    for_pieces(x.rows(), PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (std::is_same_v<T, float>) {
        const RowMasks masks(dropout, begin, end, cols);
        for (int64_t r = begin; r < end; ++r) {
          row_kernels().apply_mask(target(y, r * cols, masks.row), read(x, r * cols, cols, masks.row), masks[r], cols);
          round(y, r * cols, cols, masks.row);
        }
        return;
      }
      for (int64_t r = begin; r < end; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
          const bool kept =
              !dropout.active() || dropout_byte(dropout, uint64_t(dropout.row_offset + r), c) < dropout.keep;
          y.as<T>()[r * cols + c] = kept ? multiplier * x.as<T>()[r * cols + c] : T(0);
        }
      }
    });
  });
}

}  // namespace lowrank
