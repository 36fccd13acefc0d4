// AdamW with moments of 8 bits. Every block of 256 elements of the arena is widened, updated and narrowed again.

#include <algorithm>

#include "core/code_book.h"
#include "cpu/adamw.h"
#include "cpu/dispatch.h"

namespace lowrank {
namespace {

using namespace cpu;

const CodeBook& book_of(bool is_signed) {
  static const CodeBook books[2] = {code_book(false), code_book(true)};
  return books[is_signed];
}

// The nearest code; of two, the lower one.
uint8_t encode(const CodeBook& book, float x) {
  int code = 0;
  for (int step = 128; step > 0; step /= 2) {
    const float* at = book.value + code + step - 1;
    if (x > 0.5f * (at[0] + at[1])) code += step;
  }
  return uint8_t(code);
}

template <typename T>
void widen_states(T* to, const uint8_t* codes, float scale, int64_t count, const CodeBook& book) {
  for (int64_t i = 0; i < count; ++i) to[i] = T(book.value[codes[i]]) * T(scale);
}

// Returns the scale. A second moment above 0 never becomes 0: where the first is larger, the next step would be huge.
template <typename T>
float narrow_states(uint8_t* codes, const T* from, int64_t count, bool is_signed) {
  const CodeBook& book = book_of(is_signed);
  float scale = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float size = float(std::fabs(from[i]));
    if (size > scale || size != size) scale = size;  // NaN stays
  }
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t code = encode(book, scale > 0 ? float(from[i]) / scale : 0.0f);
    codes[i] = !is_signed && code == 0 && from[i] > 0 ? 1 : code;
  }
  return scale;
}

struct Table {
  const double* at(int64_t s) const { return rows + s * 4; }
  int64_t begin(int64_t s) const { return int64_t(rows[s * 4]); }
  int64_t end(int64_t s) const { return int64_t(rows[s * 4 + 1]); }
  // The first slice that ends after element i, or `count`.
  int64_t first_after(int64_t i) const {
    int64_t low = 0;
    for (int64_t high = count; low < high;) {
      const int64_t middle = (low + high) / 2;
      if (end(middle) <= i) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  const double* rows;
  int64_t count;
};

}  // namespace

void cpu::adamw8(View params, View grads, View m, View v, View m_scale, View v_scale, View slices, View squared_norm,
                 AdamW options) {
  const double clip = clip_factor(squared_norm, options.clip);
  const Table table = {slices.as<double>(), slices.size() / 4};
  const int64_t size = params.size();
  dispatch(params, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(ceil_div(size, STATE_BLOCK), PIECE_ROWS, [&](int64_t from, int64_t to, int64_t) {
      T wide_m[STATE_BLOCK], wide_v[STATE_BLOCK];
      for (int64_t block = from; block < to; ++block) {
        const int64_t begin = block * STATE_BLOCK, end = std::min(begin + STATE_BLOCK, size);
        uint8_t* codes_m = m.as<uint8_t>() + begin;
        uint8_t* codes_v = v.as<uint8_t>() + begin;
        const float scale_m = m_scale.as<float>()[block], scale_v = v_scale.as<float>()[block];
        // Codes of what no slice holds say nothing: they would move the block's scale.
        std::fill(wide_m, wide_m + STATE_BLOCK, T(0));
        std::fill(wide_v, wide_v + STATE_BLOCK, T(0));
        for (int64_t s = table.first_after(begin); s < table.count && table.begin(s) < end; ++s) {
          const int64_t first = std::max(begin, table.begin(s)), last = std::min(end, table.end(s));
          const int64_t at = first - begin;
          widen_states(wide_m + at, codes_m + at, scale_m, last - first, book_of(true));
          widen_states(wide_v + at, codes_v + at, scale_v, last - first, book_of(false));
          adamw_update(params.as<T>() + first, grads.as<T>() + first, wide_m + at, wide_v + at, last - first,
                       slice_step(options, table.at(s), clip));
        }
        m_scale.as<float>()[block] = narrow_states(codes_m, wide_m, end - begin, true);
        v_scale.as<float>()[block] = narrow_states(codes_v, wide_v, end - begin, false);
      }
    });
  });
}

}  // namespace lowrank
