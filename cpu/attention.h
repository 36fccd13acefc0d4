#pragma once
#include "core/kernels.h"

namespace lowrank::cpu {

// f32, in blocks: no score matrix beyond one block per thread.
void attention_tiled(View o, View lse, View q, View k, View v, View cu_seqlens, const AttentionShape& shape,
                     const Dropout& dropout);
void attention_backward_tiled(View dq, View dk, View dv, View dy, View q, View k, View v, View o, View lse,
                              View cu_seqlens, const AttentionShape& shape, const Dropout& dropout);

}  // namespace lowrank::cpu
