// All conformance cases, in the order in which they run: what the later ones rest on comes first.

#include "cuda/conformance/cases.h"

namespace lowrank::cuda {

const std::vector<ConformanceCase>& conformance_cases() {
  using namespace conformance;
  static const Cases all = [] {
    Cases list;
    for (const Cases& some : {generation_cases(), warp_cases(), intrinsics_cases(), barrier_cases(), copy_cases(),
                              matrix_cases(), tma_cases(), wgmma_cases(), tile_cases()})
      list.insert(list.end(), some.begin(), some.end());
    return list;
  }();
  return all;
}

}  // namespace lowrank::cuda
