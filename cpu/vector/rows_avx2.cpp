#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu/vector/rows.h"

#define LOWRANK_VECTOR avx2
// Each uses the ones before it.
// clang-format off
#include "cpu/vector/vec_avx2.inc"
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
