// Small matrices of adapters (a, b, and sums of s, t, da, db) into the forms that products read, where no pass on
// tensor cores does it (f32, f64): see CastFactor. One thread an element, one row of the grid a matrix; bound by its
// launch.

#include "cuda/lora/cast.cuh"

namespace lowrank::cuda::lora {
namespace {

constexpr int THREADS = 256, MOST = 16;

struct Casts {
  int count = 0;
  CastFactor list[MOST];
};

template <typename T>
__global__ void cast_elements(const __grid_constant__ Casts casts) {
  const CastFactor& p = casts.list[blockIdx.y];
  cast_rows<T>(p, 0, p.count, int64_t(blockIdx.x) * THREADS + threadIdx.x, int64_t(gridDim.x) * THREADS);
}

void launch_casts(const Casts& casts, DType type) {
  int64_t most = 0;
  for (int k = 0; k < casts.count; ++k) most = std::max(most, casts.list[k].elements());
  const int64_t blocks = ceil_div(most, THREADS);
  check(blocks <= INT32_MAX, Code::Unsupported, "loraLinear: ", most, " elements of a low-rank factor");
  View typed;
  typed.dtype = type;
  dispatch(typed, [&](auto zero) {
    launch(cast_elements<decltype(zero)>, Launch{dim3(unsigned(blocks), unsigned(casts.count)), dim3(THREADS)}, casts);
  });
}

}  // namespace

void cast_factors(const CastFactors& casts, DType type) {
  for (size_t first = 0; first < casts.size(); first += MOST) {
    Casts some;
    for (size_t i = first; i < std::min(casts.size(), first + MOST); ++i) some.list[some.count++] = casts[i];
    launch_casts(some, type);
  }
}

}  // namespace lowrank::cuda::lora
