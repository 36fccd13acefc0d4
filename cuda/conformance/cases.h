#pragma once
#include <vector>

#include "cuda/info.h"

// The conformance cases, by file.
namespace lowrank::conformance {

using Cases = std::vector<cuda::ConformanceCase>;

Cases generation_cases();
Cases warp_cases();
Cases intrinsics_cases();
Cases barrier_cases();
Cases copy_cases();
Cases matrix_cases();
Cases tma_cases();
Cases wgmma_cases();
Cases tile_cases();

}  // namespace lowrank::conformance
