// What the host says of a wrong index: as core/ops/checks.h does of those that it looks at itself.

#include "core/device.h"
#include "cuda/indices.cuh"

namespace lowrank::cuda {

void check_indices(IndexFault& fault) {
  if (fault.kind == 0) return;
  static constexpr const char* NAMES[] = {"",
                                          "embedding: id ",
                                          "embeddingBackward: id ",
                                          "crossEntropy: label ",
                                          "linearCrossEntropy: label ",
                                          "rope: position ",
                                          "attentionDecode: length ",
                                          "attentionDecode: page ",
                                          "cacheWrite: slot ",
                                          "attention: cuSeqlens ",
                                          "attention: keySeqlens "};
  const IndexFault found = fault;
  fault = {};
  throw Fault{Code::Option, std::string(NAMES[found.kind]) + std::to_string(found.value) + " at index " +
                                std::to_string(found.at) + ", expected " + std::to_string(found.least) + " to " +
                                std::to_string(found.limit - 1)};
}

}  // namespace lowrank::cuda
