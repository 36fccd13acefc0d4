#include "core/pool.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

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

size_t memory_limit() {
  const char* text = std::getenv("LOWRANK_MEMORY_LIMIT");
  if (!text || !*text) return SIZE_MAX;
  errno = 0;
  const size_t limit = std::strtoull(text, nullptr, 10);
  check(std::strspn(text, "0123456789") == std::strlen(text) && limit > 0 && errno == 0, Code::Option,
        "LOWRANK_MEMORY_LIMIT: \"", text, "\", expected a number of bytes");
  return limit;
}

}  // namespace

Pool::Pool(const Backend* backend, int index, std::function<void()> drain)
    : backend_(backend), index_(index), drain_(std::move(drain)), limit_(memory_limit()) {}

// By now the queue has stopped.
Pool::~Pool() { free_cached(); }

void* Pool::obtain(size_t size) {
  if (size > limit_ || reserved_ > limit_ - size) return nullptr;
  return backend_->allocate(index_, size);
}

void* Pool::allocate(size_t bytes) {
  const size_t asked = rounded(bytes), size = size_class(asked);
  void* data = nullptr;
  if (backend_) {
    auto& blocks = cached_[size];
    if (!blocks.empty()) {
      data = blocks.back();
      blocks.pop_back();
    } else {
      data = obtain(size);
      if (!data) {
        trim();
        data = obtain(size);
      }
      const std::string limit = limit_ == SIZE_MAX ? "" : ", limit " + std::to_string(limit_);
      check(data != nullptr, Code::Memory, "out of memory: ", asked, " bytes requested, ", live_, " in use, ",
            reserved_, " reserved", limit,
            "; lower batchSize or maxLength, raise accumulate, or store the base as bf16");
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
  if (drain_) drain_();
  free_cached();
}

void Pool::free_cached() {
  for (auto& [size, blocks] : cached_) {
    for (void* data : blocks) backend_->release(index_, data, size);
    reserved_ -= size * blocks.size();
  }
  cached_.clear();
}

}  // namespace lowrank
