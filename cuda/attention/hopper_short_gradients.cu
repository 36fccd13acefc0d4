// dq, dk and dv of attention on Hopper in one launch, where each sequence is a tile of queries and one of keys: up to
// 128 tokens, head size 64. Two blocks a sequence and head, side by side: one has dq, as in hopper_query_gradients.cuh,
// the other dk and dv, as in hopper_key_gradients.cuh, in the order of sums that they have apart. Neither waits for the
// other, so both make the row sums: dy and o, 4 dim bytes a query, are read once more, from L2.

#include "cuda/attention/hopper_key_gradients.cuh"
#include "cuda/attention/hopper_query_gradients.cuh"

namespace lowrank {
namespace cuda {
namespace {

namespace keys = tensor_core::sm90::key_gradients;
namespace queries = tensor_core::sm90::query_gradients;
using tensor_core::sm90::BLOCK;
// Queries that keys meet at a time: half as many as apart, so that the code of both fits the registers.
constexpr int STEP = 64;

template <typename T, int D>
__global__ void __launch_bounds__(BLOCK, 1)
    short_gradients_wgmma(T* dq, T* dk, T* dv, const RowSums<float> sums, const RowInputs<T> made_of,
                          const __grid_constant__ queries::Maps of_queries, const __grid_constant__ keys::Maps of_keys,
                          const __grid_constant__ Problem<float> p) {
  ptx::wait_for_kernels();
  ptx::let_next_kernel_start();
  if (blockIdx.y == 0) queries::run_tile<T, D>(dq, sums, made_of, of_queries, p);
  else keys::run_tile<T, D, false, STEP>(dk, dv, made_of, of_keys, p);
}

template <typename T, int D>
void run(const Backward& g, const Inputs& in, const RowSums<float>& rows, const RowInputs<T>& made_of,
         const Problem<float>& p) {
  static_assert(queries::QUERIES == keys::KEYS);
  dim3 grid = blocks_of(p.tokens, keys::KEYS, p.heads, p.sequences);
  grid.y = 2;
  constexpr uint32_t BYTES = std::max(queries::Memory<D>::BYTES, keys::Memory<T, D, STEP>::BYTES);
  launch(short_gradients_wgmma<T, D>, Launch{grid, dim3(BLOCK), BYTES, 1, true}, g.dq.as<T>(), g.dk.as<T>(),
         g.dv.as<T>(), rows, made_of, queries::maps_of<T>(g, in), keys::maps_of<T, STEP>(g, in), p);
}

}  // namespace

template <typename T>
void short_gradients_hopper(const Backward& g, const Inputs& in, const RowSums<float>& rows,
                            const RowInputs<T>& made_of, const Problem<float>& p) {
  run<T, 64>(g, in, rows, made_of, p);
}

template void short_gradients_hopper<__nv_bfloat16>(const Backward&, const Inputs&, const RowSums<float>&,
                                                    const RowInputs<__nv_bfloat16>&, const Problem<float>&);
template void short_gradients_hopper<__half>(const Backward&, const Inputs&, const RowSums<float>&,
                                             const RowInputs<__half>&, const Problem<float>&);

}  // namespace cuda
}  // namespace lowrank
