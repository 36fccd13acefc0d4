// Layers with adapters that share x, q | k | v or gate | up: one pass over x gives all s, another all da, and dx is one
// product, [dy_1 | dy_2 | dy_3] [w_1; w_2; w_3] with the adapters' slabs. See cuda/lora/forward.cu and backward.cu.
//
// Against separate calls, at M 8192, K 4096, r 16 and three layers of N 4096 it saves two passes over x forward and two
// backward, 67 MB each, and two read-modify-writes of dx, 201 MB each: 670 MB, 220 us of 3 TB/s.

#include "cuda/lora/layer.h"

namespace lowrank {

void cuda::lora_linear_group(View x, LoraLayers layers, Compute compute, bool exact, Rope rope) {
  lora::forward({layers, x, {}, compute, exact, rope, {}});
}

void cuda::lora_linear_group_backward(View dx, View x, LoraLayers layers, Compute compute, bool exact, View residual,
                                      View t, LoraGradients earlier) {
  lora::backward({layers, x, dx, compute, exact, {}, residual, t, earlier});
}

}  // namespace lowrank
