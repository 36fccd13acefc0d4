// Rotary position embedding (Su et al. 2021): the pair (a, b) of a head is turned by the angle of its row's position,
// a' = a cos - b sin, b' = b cos + a sin. Pair i is columns (i, i + rotary / 2), or (2 i, 2 i + 1) where interleaved;
// columns past rotary are copied. Inverse: sin -> -sin, which is the gradient.
#include <algorithm>

#include "core/kernels.h"
#include "cpu/dispatch.h"
#include "cpu/half.h"
#include "cpu/pieces.h"
#include "cpu/vector/rows.h"

namespace lowrank {
namespace {

using namespace cpu;

template <typename T>
void rotate_head(T* y, const T* x, const T* cosines, const T* sines, int64_t pairs, bool interleaved, T sign) {
  if constexpr (std::is_same_v<T, float>)
    if (!interleaved) return row_kernels().rope_head(y, x, cosines, sines, pairs, sign);
  const int64_t step = interleaved ? 2 : 1, gap = interleaved ? 1 : pairs;
  for (int64_t i = 0; i < pairs; ++i) {
    const int64_t first = i * step, second = first + gap;
    const T a = x[first], b = x[second], c = cosines[i], s = sign * sines[i];
    y[first] = a * c - b * s;
    y[second] = b * c + a * s;
  }
}

// Rows [begin, end) of bf16, through f32 copies of heads.
void rotate_half(const View& y, const View& x, const View& positions, const float* table, int64_t rotary,
                 int64_t head_dim, bool interleaved, float sign) {
  for_pieces(x.rows(), PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
    auto* head = static_cast<float*>(scratch(6, size_t(head_dim) * sizeof(float)));
    for (int64_t r = begin; r < end; ++r) {
      const float* cosines = table + positions.as<int32_t>()[r] * rotary;
      for (int64_t c = r * x.cols(); c < (r + 1) * x.cols(); c += head_dim) {
        read(x, c, head_dim, head);
        rotate_head(head, head, cosines, cosines + rotary / 2, rotary / 2, interleaved, sign);
        round(y, c, head_dim, head);
      }
    }
  });
}

template <typename T>
void rotate(const View& y, const View& x, const View& positions, const T* table, int64_t rotary, int64_t head_dim,
            bool interleaved, T sign) {
  if constexpr (std::is_same_v<T, float>)
    if (is_bf16(x)) return rotate_half(y, x, positions, table, rotary, head_dim, interleaved, sign);
  for_pieces(x.rows(), PIECE_ROWS, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) {
      const T* cosines = table + positions.as<int32_t>()[r] * rotary;
      for (int64_t c = r * x.cols(); c < (r + 1) * x.cols(); c += head_dim) {
        T* to = y.as<T>() + c;
        const T* from = x.as<T>() + c;
        rotate_head(to, from, cosines, cosines + rotary / 2, rotary / 2, interleaved, sign);
        if (to != from) std::copy(from + rotary, from + head_dim, to + rotary);
      }
    }
  });
}

}  // namespace

void cpu::rope(View qy, View ky, View q, View k, View positions, View table, int64_t head_dim, bool interleaved,
               bool inverse) {
  dispatch(q, [&](auto zero) {
    using T = decltype(zero);
    const T sign = inverse ? T(-1) : T(1);
    const Weight<T> angles(table);
    rotate<T>(qy, q, positions, angles.data, table.cols(), head_dim, interleaved, sign);
    if (k) rotate<T>(ky, k, positions, angles.data, table.cols(), head_dim, interleaved, sign);
  });
}

}  // namespace lowrank
