// Compiled as the kernels for Hopper are: says whether this build has their code, or traps in its place.

#include "cuda/generation.cuh"

namespace lowrank::cuda {

bool has_hopper_code(cudaStream_t stream) { return generation_on(stream) == 909; }

}  // namespace lowrank::cuda
