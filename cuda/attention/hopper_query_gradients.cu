// The kernel of cuda/attention/hopper_query_gradients.cuh.

#include "cuda/attention/hopper_query_gradients.cuh"

namespace lowrank {
namespace cuda {
namespace {

namespace own = tensor_core::sm90::query_gradients;
using tensor_core::sm90::BLOCK;

template <typename T, int D>
__global__ void __launch_bounds__(BLOCK, 1)
    query_gradients_wgmma(T* dq, const RowSums<float> sums, const RowInputs<T> made_of,
                          const __grid_constant__ own::Maps maps, const __grid_constant__ Problem<float> p) {
  ptx::wait_for_kernels();
  ptx::let_next_kernel_start();
  own::run_tile<T, D>(dq, sums, made_of, maps, p);
}

template <typename T, int D>
void run(const Backward& g, const Inputs& in, const RowSums<float>& rows, const RowInputs<T>& made_of,
         const Problem<float>& p) {
  launch(query_gradients_wgmma<T, D>,
         Launch{blocks_of(p.tokens, own::QUERIES, p.heads, p.sequences), dim3(BLOCK), own::Memory<D>::BYTES, 1, true},
         g.dq.as<T>(), rows, made_of, own::maps_of<T>(g, in), p);
}

}  // namespace

template <typename T>
void query_gradients_hopper(const Backward& g, const Inputs& in, const RowSums<float>& rows,
                            const RowInputs<T>& made_of, const Problem<float>& p) {
  if (p.dim == 64) run<T, 64>(g, in, rows, made_of, p);
  else run<T, 128>(g, in, rows, made_of, p);
}

template void query_gradients_hopper<__nv_bfloat16>(const Backward&, const Inputs&, const RowSums<float>&,
                                                    const RowInputs<__nv_bfloat16>&, const Problem<float>&);
template void query_gradients_hopper<__half>(const Backward&, const Inputs&, const RowSums<float>&,
                                             const RowInputs<__half>&, const Problem<float>&);

}  // namespace cuda
}  // namespace lowrank
