#pragma once
#include "core/ops/checks.h"

namespace lowrank::ops {

// How `op` turns y; not at all without positions and table.
Rope rope_of(const char* op, const Tensor& y, Maybe positions, Maybe table, int head_dim, bool interleaved);

}  // namespace lowrank::ops
