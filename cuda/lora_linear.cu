// A frozen linear layer with its low-rank adapter, as one op: see cuda/lora/forward.cu and backward.cu.

#include "cuda/lora/layer.h"

namespace lowrank {

void cuda::lora_linear(View y, View s, View x, View w, View bias, View a, View b, double scale, Dropout dropout,
                       Compute compute, bool exact, Rope rope) {
  LoraLayers one = {1, {{y, s, w, bias, a, b, {}, {}, {}, scale, dropout, bool(rope)}}};
  lora::forward({one, x, {}, compute, exact, rope, {}});
}

void cuda::lora_linear_backward(View dx, View da, View db, View dy, View x, View w, View a, View b, View s,
                                double scale, Dropout dropout, Compute compute, bool exact, View residual) {
  LoraLayers one = {1, {{{}, s, w, {}, a, b, dy, da, db, scale, dropout, false}}};
  lora::backward({one, x, dx, compute, exact, {}, residual});
}

}  // namespace lowrank
