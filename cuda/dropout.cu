// y = x * 256 / keep where the mask of core/kernels.h keeps, else 0.
//
// Four neighbouring lanes own 64 columns of a row: each runs Philox for one of the four groups of 16 columns, which lie
// scattered, and after an exchange of words (quad_mask_bytes) each has the bytes of 16 neighbouring columns, moved in
// 16-byte packs. 56 instructions of Philox for 16 elements stay below what memory allows. One pass, f32 arithmetic
// (f64 for f64); nothing is stored of the mask. Bound by bandwidth: the target is 2 * bytes(x) / peak.

#include "cuda/philox.cuh"

namespace lowrank {
namespace {

using namespace cuda;
constexpr int THREADS = 256, SPAN = 16;

template <typename T>
__global__ void __launch_bounds__(THREADS)
    drop(T* y, const T* x, int64_t rows, int64_t cols, Dropout dropout, Arithmetic<T> multiplier, bool packed) {
  using A = Arithmetic<T>;
  constexpr int N = PACK<T>;
  const int64_t quad = (int64_t(blockIdx.x) * THREADS + threadIdx.x) / 4, blocks = ceil_div(cols, 64);
  const int64_t row = divide(quad, blocks), block = quad - row * blocks;
  const MaskBytes bytes = quad_mask_bytes(dropout, uint32_t(dropout.row_offset + row), uint32_t(block));
  const int64_t first = block * 64 + threadIdx.x % 4 * SPAN;
  if (row >= rows || first >= cols) return;
  const T* from = x + row * cols + first;
  T* to = y + row * cols + first;
  const auto dropped = [&](int k, T value) {
    return int(bytes[quad_byte_of(k)]) < dropout.keep ? T(multiplier * A(value)) : T(A(0));
  };
#pragma unroll
  for (int i = 0; i < SPAN; i += N) {
    if (packed && first + i + N <= cols) {
      Pack<T, N> pack = load<N>(from + i);
#pragma unroll
      for (int k = 0; k < N; ++k) pack.lane[k] = dropped(i + k, pack.lane[k]);
      store(to + i, pack);
    } else {
#pragma unroll
      for (int k = i; k < i + N; ++k)
        if (first + k < cols) to[k] = dropped(k, from[k]);
    }
  }
}

}  // namespace

void cuda::dropout(View y, View x, Dropout dropout) {
  const int64_t quads = x.rows() * ceil_div(x.cols(), 64);
  dispatch(y, [&](auto zero) {
    using T = decltype(zero);
    const bool packed = aligned(y) && aligned(x) && x.cols() % PACK<T> == 0;
    launch(drop<T>, ceil_div(quads * 4, THREADS), THREADS, y.as<T>(), x.as<T>(), x.rows(), x.cols(), dropout,
           dropout.multiplier(), packed);
  });
}

}  // namespace lowrank
