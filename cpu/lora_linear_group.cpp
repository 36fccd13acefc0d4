// Layers that share x, one after the other: x and what is made of it stay in the cache or don't, as in separate calls.

#include <vector>

#include "core/kernels.h"
#include "cpu/half.h"

namespace lowrank::cpu {

void lora_linear_group(View x, LoraLayers layers, Compute compute, bool exact, Rope rope) {
  for (int i = 0; i < layers.count; ++i) {
    const LoraLayer& l = layers.layer[i];
    lora_linear(l.y, l.s, x, l.w, l.bias, l.a, l.b, l.scale, l.dropout, compute, exact, l.turned ? rope : Rope{});
    if (l.activated) activation(l.activated.data, l.y, l.activated.kind);
  }
}

// All da are made here. Gradients of x in bf16 are added to each other as each product rounds its own.
void lora_linear_group_backward(View dx, View x, LoraLayers layers, Compute compute, bool exact, View residual, View,
                                LoraGradients) {
  std::vector<double> memory;
  View more;
  const bool half = is_bf16(x);
  if (dx && layers.count > 1 && !half) {
    memory.resize(size_t(x.size()));
    more = dx;
    more.data = memory.data();
  }
  for (int i = 0; i < layers.count; ++i) {
    const LoraLayer& l = layers.layer[i];
    const View own = i == 0 || half ? dx : more, so_far = i > 0 && half ? dx : View{};
    lora_linear_backward(own, l.da, l.db, l.dy, x, l.w, l.a, l.b, l.s, l.scale, l.dropout, compute, exact, so_far);
    if (dx && i > 0 && !half) accumulate(dx, more, 1);
  }
  if (dx && residual) accumulate(dx, residual, 1);
  if (dx && layers.through) activation_backward(dx, dx, layers.through.data, layers.through.kind);
}

}  // namespace lowrank::cpu
