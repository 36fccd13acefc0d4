// The kernel of cuda/attention/hopper_key_gradients.cuh.

#include "cuda/attention/hopper_key_gradients.cuh"

namespace lowrank {
namespace cuda {
namespace {

namespace own = tensor_core::sm90::key_gradients;
using tensor_core::sm90::BLOCK;

template <typename T, int D>
__global__ void __launch_bounds__(BLOCK, 1) key_gradients_wgmma(T* dk, T* dv, const __grid_constant__ own::Maps maps,
                                                                const __grid_constant__ Problem<float> p) {
  ptx::wait_for_kernels();
  ptx::let_next_kernel_start();
  own::run_tile<T, D, true>(dk, dv, {}, maps, p);
}

template <typename T, int D>
void run(const Backward& g, const Inputs& in, const RowSums<float>& rows, const Problem<float>& p) {
  constexpr int Q = own::QUERIES<D>;
  const int64_t pairs = p.tokens * p.heads;
  check(pairs <= INT32_MAX - Q, Code::Unsupported, "attention: ", pairs, " queries of all heads; CUDA allows ",
        INT32_MAX - Q);
  own::Maps maps = own::maps_of<T, Q>(g, in);
  maps.sums = tensor_map(rows.norm,
                         {{uint64_t(pairs), 2}, {uint64_t(rows.delta - rows.norm) * sizeof(float)}, {uint32_t(Q), 2}});
  launch(key_gradients_wgmma<T, D>,
         Launch{blocks_of(p.keys, own::KEYS, p.kv_heads, p.sequences), dim3(BLOCK), own::Memory<T, D>::BYTES, 1, true},
         g.dk.as<T>(), g.dv.as<T>(), maps, p);
}

}  // namespace

template <typename T>
void key_gradients_hopper(const Backward& g, const Inputs& in, const RowSums<float>& rows, const Problem<float>& p) {
  if (p.dim == 64) run<T, 64>(g, in, rows, p);
  else run<T, 128>(g, in, rows, p);
}

template void key_gradients_hopper<__nv_bfloat16>(const Backward&, const Inputs&, const RowSums<float>&,
                                                  const Problem<float>&);
template void key_gradients_hopper<__half>(const Backward&, const Inputs&, const RowSums<float>&,
                                           const Problem<float>&);

}  // namespace cuda
}  // namespace lowrank
