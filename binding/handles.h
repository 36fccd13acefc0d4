#pragma once
#include <cmath>
#include <vector>

#include "core/tensor.h"

namespace lowrank {

// Tensors as JavaScript sees them: numbers below 2^53. A handle is a slot plus the slot's generation, so a stale handle
// is an error and never another tensor; a slot whose generations are used up is retired. 0 is no tensor. Used from the
// environment's JavaScript thread only.
class Handles {
 public:
  double put(Tensor tensor) {
    uint32_t slot;
    if (free_.empty()) {
      slot = uint32_t(slots_.size());
      check(slot < SLOTS, Code::Memory, "tensor: more than ", SLOTS, " are alive; dispose those you no longer need");
      slots_.emplace_back();
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    slots_[slot].tensor = std::move(tensor);
    ++live_;
    return double(slots_[slot].generation) * SLOTS + slot;
  }

  const Tensor& get(double handle) const { return slots_[find(handle)].tensor; }

  void drop(double handle) {
    const uint32_t slot = find(handle);
    slots_[slot].tensor = Tensor();
    --live_;
    if (++slots_[slot].generation < GENERATIONS) free_.push_back(slot);
  }

  size_t live() const { return live_; }
  void clear() { slots_.clear(), free_.clear(), live_ = 0; }

 private:
  static constexpr uint32_t SLOTS = 1u << 24, GENERATIONS = 1u << 29;
  struct Slot {
    Tensor tensor;
    uint32_t generation = 1;
  };

  uint32_t find(double handle) const {
    const bool sane = handle >= SLOTS && handle < 9007199254740992.0 && handle == std::floor(handle);
    const auto number = sane ? uint64_t(handle) : 0;
    const auto slot = uint32_t(number % SLOTS);
    const bool alive =
        slot < slots_.size() && slots_[slot].generation == number / SLOTS && slots_[slot].tensor.defined();
    check(alive, Code::Disposed, "tensor: it was disposed; keep it out of the scope, or read it before");
    return slot;
  }

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  size_t live_ = 0;
};

}  // namespace lowrank
