#if defined(__aarch64__)
#include <arm_neon.h>

#include "cpu/vector/rows.h"

#define LOWRANK_VECTOR neon
// Each uses the ones before it.
// clang-format off
#include "cpu/vector/vec_neon.inc"
#include "cpu/vector/math.inc"
#include "cpu/vector/elementwise.inc"
#include "cpu/vector/norm.inc"
#include "cpu/vector/loss.inc"
#include "cpu/vector/tile.inc"
#include "cpu/vector/attention.inc"
#include "cpu/vector/attention_backward.inc"
#include "cpu/vector/attention_bias.inc"
#include "cpu/vector/few_rows.inc"
#include "cpu/vector/blocks.inc"
#include "cpu/vector/table.inc"
// clang-format on
#endif
