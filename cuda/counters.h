#pragma once
#include <cstdint>

namespace lowrank::cuda {

// Zeros of the queue's device, by which blocks of one launch count who comes last at a place; they leave zeros.
constexpr int64_t COUNTERS = 1 << 16;
unsigned* counters();  // null while measuring

}  // namespace lowrank::cuda
