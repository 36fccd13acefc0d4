#include "cpu/adamw.h"

#include "cpu/dispatch.h"
#include "cpu/vector/rows.h"

namespace lowrank {
namespace {

using namespace cpu;

template <typename T>
void update(T* p, const T* grad, T* m, T* v, int64_t count, const Step& step) {
  if constexpr (std::is_same_v<T, float>) {
    const AdamWStep s = {float(step.clip),      float(step.beta1),     float(step.beta2),
                         float(1 - step.beta1), float(1 - step.beta2), float(step.eps),
                         float(step.root),      float(step.keep),      float(step.rate)};
    return row_kernels().adamw(p, grad, m, v, count, s);
  }
  adamw_update(p, grad, m, v, count, step);
}

}  // namespace

void cpu::adamw(View params, View grads, View m, View v, View slices, View squared_norm, AdamW options) {
  const double clip = clip_factor(squared_norm, options.clip);
  const double* table = slices.as<double>();
  const int64_t count = slices.size() / 4;
  // first[s] = pieces before slice s
  auto* first = static_cast<int64_t*>(scratch(7, size_t(count + 1) * sizeof(int64_t)));
  first[0] = 0;
  for (int64_t s = 0; s < count; ++s) {
    const int64_t size = int64_t(table[s * 4 + 1]) - int64_t(table[s * 4]);
    first[s + 1] = first[s] + ceil_div(size, PIECE_ELEMENTS);
  }
  dispatch(params, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(first[count], [&](int64_t piece) {
      int64_t s = 0;
      for (int64_t high = count; high - s > 1;) {
        const int64_t middle = (s + high) / 2;
        (first[middle] <= piece ? s : high) = middle;
      }
      const double* slice = table + s * 4;
      const int64_t begin = int64_t(slice[0]) + (piece - first[s]) * PIECE_ELEMENTS;
      const int64_t end = begin + PIECE_ELEMENTS < int64_t(slice[1]) ? begin + PIECE_ELEMENTS : int64_t(slice[1]);
      update(params.as<T>() + begin, grads.as<T>() + begin, m.as<T>() + begin, v.as<T>() + begin, end - begin,
             slice_step(options, slice, clip));
    });
  });
}

}  // namespace lowrank
