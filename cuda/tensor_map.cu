#include "cuda/tensor_map.cuh"

namespace lowrank::cuda {

int64_t tensor_maps_made() { return tensor_maps().made(); }

}  // namespace lowrank::cuda
