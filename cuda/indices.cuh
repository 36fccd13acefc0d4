#pragma once
// Indices that kernels are given as data: ids, labels, positions, lengths. One out of bounds would reach foreign memory
// and cost the process its GPU: the nearest valid one is taken instead, and the host is told, which throws where it
// next waits for the queue.

#include <algorithm>

#include "cuda/launch.cuh"

namespace lowrank::cuda {

enum class IndexKind : int32_t {
  None,
  Embedding,
  EmbeddingBackward,
  Label,
  LinearLabel,
  Position,
  Length,
  Page,
  Slot,
  Sequence,
  KeySequence
};

// Of a queue, in memory of the host that its kernels write: the first wrong index since the last wait.
struct IndexFault {
  int32_t kind = 0, value = 0;  // kind: an IndexKind, 0 while all are right
  int64_t at = 0, least = 0, limit = 0;
};
// Of this thread's queue; null while an op is measured.
IndexFault* index_fault();
// On the host, when all launched work is complete: throws a Fault that names the op where there is one, and forgets it.
void check_indices(IndexFault& fault);

// Valid are 0, or `least`, to limit - 1.
struct Indices {
  Indices() = default;
  Indices(const View& view, int64_t limit, IndexKind kind)
      : data(view.as<int32_t>()), fault(index_fault()), limit(int32_t(std::min<int64_t>(limit, INT32_MAX))), kind(kind),
        also(limit > 0 ? 0 : -1) {}
  // What stands for no index.
  Indices except(int32_t value) const {
    Indices all = *this;
    all.also = value;
    return all;
  }
  Indices from(int64_t first) const {
    Indices rest = *this;
    rest.origin += first;
    return rest;
  }

  __device__ int32_t operator[](int64_t i) const { return at(i, 0); }
  __device__ int32_t at(int64_t i, int32_t least) const {
    const int32_t value = data[origin + i];
    if ((value >= least && value < limit) || value == also) return value;
    if (atomicCAS(&fault->kind, 0, int32_t(kind)) == 0)
      fault->value = value, fault->at = origin + i, fault->least = least, fault->limit = limit;
    return max(least, min(value, limit - 1));
  }

  const int32_t* data = nullptr;
  IndexFault* fault = nullptr;
  int64_t origin = 0;
  int32_t limit = 0;
  IndexKind kind = IndexKind::None;
  int32_t also = 0;
};

}  // namespace lowrank::cuda
