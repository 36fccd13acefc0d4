#include "cpu/vector/rows.h"

#define LOWRANK_VECTOR portable
#include "cpu/vector/vec_portable.inc"
// The order matters: each uses the ones before it.
#include "cpu/vector/math.inc"
#include "cpu/vector/elementwise.inc"
#include "cpu/vector/norm.inc"
#include "cpu/vector/loss.inc"
#include "cpu/vector/tile.inc"
#include "cpu/vector/attention.inc"
#include "cpu/vector/attention_backward.inc"
#include "cpu/vector/table.inc"
