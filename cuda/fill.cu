// y = value.
//
// One 16-byte pack a thread, the ragged end element by element in the last thread. One pass, written only. Bound by
// bandwidth: the target is bytes(y) / peak. Element types are told apart by width alone: the host makes the bits.

#include "cuda/launch.cuh"

namespace lowrank {
namespace {

using namespace cuda;
constexpr int THREADS = 256;

template <typename T, int N>
__global__ void fill_packs(T* y, T value, int64_t n) {
  const int64_t i = (int64_t(blockIdx.x) * THREADS + threadIdx.x) * N;
  if (i + N <= n) {
    Pack<T, N> pack;
    for (int k = 0; k < N; ++k) pack.lane[k] = value;
    store(y + i, pack);
  } else {
    for (int64_t j = i; j < n; ++j) y[j] = value;
  }
}

template <typename T>
void fill_with(const View& y, T value) {
  with_pack<T>(
      [&](auto pack) {
        constexpr int N = decltype(pack)::value;
        launch(fill_packs<T, N>, ceil_div(y.size(), THREADS * N), THREADS, y.as<T>(), value, y.size());
      },
      y);
}

}  // namespace

void cuda::fill(View y, double value) {
  switch (y.dtype) {
    case DType::F32: return fill_with(y, float(value));
    case DType::F64: return fill_with(y, value);
    case DType::BF16: return fill_with(y, __double2bfloat16(value));
    case DType::F16: return fill_with(y, __double2half(value));
    case DType::I32: return fill_with(y, int32_t(value));
    case DType::I64: return fill_with(y, int64_t(value));
    case DType::U8: return fill_with(y, uint8_t(value));
    default: break;  // quantised weights are not filled
  }
}

}  // namespace lowrank
