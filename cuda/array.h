#pragma once

namespace lowrank {

template <typename T, int... Dims>
struct ArrayOf {
  using type = T;
};
template <typename T, int N, int... Dims>
struct ArrayOf<T, N, Dims...> {
  using type = typename ArrayOf<T, Dims...>::type[N];
};
// T[N][M]…, spelled so that a macro takes it for one argument: SHARED(sums, Array<float, 4, 32>).
template <typename T, int... Dims>
using Array = typename ArrayOf<T, Dims...>::type;

}  // namespace lowrank
