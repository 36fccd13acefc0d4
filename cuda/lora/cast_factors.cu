// Small matrices of adapters (a, b, s; without tensor cores also sums of s, t, da, db) into the forms that products
// read: see CastFactor. One thread an element, one row of the grid a matrix; bound by its launch.

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
  const int64_t counts = max(p.count, p.padded_count), ranks = max(p.rank, p.padded_rank);
  const int64_t at = int64_t(blockIdx.x) * THREADS + threadIdx.x;
  if (at >= counts * ranks) return;
  cast_element<T>(p, p.along_i ? at % counts : at / ranks, p.along_i ? at / counts : at % ranks);
}

void launch_casts(const Casts& casts, DType type) {
  int64_t most = 0;
  for (int k = 0; k < casts.count; ++k) {
    const CastFactor& p = casts.list[k];
    most = std::max(most, int64_t(std::max(p.count, p.padded_count)) * std::max(p.rank, p.padded_rank));
  }
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
