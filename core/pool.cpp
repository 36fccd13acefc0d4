#include "core/pool.h"

#include <algorithm>
#include <cstdlib>

#include "core/device.h"

namespace lowrank {
namespace {

constexpr size_t ALIGNMENT = 256;

size_t rounded(size_t bytes) { return std::max(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT); }

// Eight classes per power of two: at most one eighth of a block is unused, and ragged batches find blocks to reuse.
size_t size_class(size_t bytes) {
  size_t step = ALIGNMENT;
  while (step * 16 <= bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

}  // namespace

Pool::Pool(const Backend* backend, int index) : backend_(backend), index_(index) {
  if (const char* text = std::getenv("LOWRANK_MEMORY_LIMIT")) limit_ = std::strtoull(text, nullptr, 10);
}

Pool::~Pool() { trim(); }

void* Pool::allocate(size_t bytes) {
  const size_t asked = rounded(bytes), size = size_class(asked);
  void* data = nullptr;
  if (backend_) {
    auto& blocks = cached_[size];
    if (!blocks.empty()) {
      data = blocks.back();
      blocks.pop_back();
    } else {
      if (reserved_ + size <= limit_) data = backend_->allocate(index_, size);
      if (!data) {
        trim();
        if (reserved_ + size <= limit_) data = backend_->allocate(index_, size);
      }
      check(data != nullptr, Code::Memory, "out of memory: ", asked, " bytes requested, ", live_, " in use, ", reserved_,
            " reserved, limit ", limit_, "; lower batchSize or maxLength, raise accumulate, or store the base as bf16");
      reserved_ += size;
    }
  }
  live_ += asked;
  peak_ = std::max(peak_, live_);
  return data;
}

void Pool::release(void* data, size_t bytes) {
  const size_t asked = rounded(bytes);
  live_ -= asked;
  if (backend_) cached_[size_class(asked)].push_back(data);
}

void Pool::trim() {
  for (auto& [size, blocks] : cached_) {
    for (void* data : blocks) backend_->release(index_, data, size);
    reserved_ -= size * blocks.size();
  }
  cached_.clear();
}

}  // namespace lowrank
