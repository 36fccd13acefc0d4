// Keys and values of new tokens go to their places in the pages of a cache.
#include "core/kernels.h"
#include "cpu/convert.h"
#include "cpu/pieces.h"

namespace lowrank::cpu {
namespace {

constexpr int64_t ROWS = 64;

void write(View cache, View x, const int32_t* slots) {
  dispatch_float(cache, [&](auto stored) {
    dispatch_float(x, [&](auto zero) {
      using S = decltype(stored);
      using T = decltype(zero);
      const int64_t width = x.cols();
      for_pieces(x.rows(), ROWS, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t r = begin; r < end; ++r) {
          const T* from = x.as<T>() + r * width;
          S* to = cache.as<S>() + slots[r] * width;
          for (int64_t c = 0; c < width; ++c) to[c] = Convert<S>::from(from[c]);
        }
      });
    });
  });
}

}  // namespace

void cache_write(View k_cache, View v_cache, View k, View v, View slots) {
  write(k_cache, k, slots.as<int32_t>());
  write(v_cache, v, slots.as<int32_t>());
}

}  // namespace lowrank::cpu
