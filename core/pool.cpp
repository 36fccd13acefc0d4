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

#if defined(__SANITIZE_ADDRESS__)
// Every tensor has an allocation of its own, so that an access past its end is seen.
constexpr bool SPLITS = false;
constexpr size_t CHUNK = ALIGNMENT;
#else
constexpr bool SPLITS = true;
constexpr size_t CHUNK = 1 << 20;
#endif

// Bytes of a unit; 0 for none of them.
size_t unit_of(const char* name) {
  constexpr struct {
    const char* name;
    size_t bytes;
  } UNITS[] = {{"", 1},          {"B", 1},         {"KB", 1000},    {"MB", 1000000}, {"GB", 1000000000},
               {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
  for (const auto& unit : UNITS)
    if (!std::strcmp(unit.name, name)) return unit.bytes;
  return 0;
}

size_t memory_limit() {
  const char* text = std::getenv("LOWRANK_MEMORY_LIMIT");
  if (!text || !*text) return SIZE_MAX;
  errno = 0;
  const size_t digits = std::strspn(text, "0123456789");
  const size_t number = std::strtoull(text, nullptr, 10);
  const size_t unit = unit_of(text + digits);
  const bool fits = unit > 0 && number <= SIZE_MAX / unit;
  check(digits > 0 && number > 0 && errno == 0 && fits, Code::Option, "LOWRANK_MEMORY_LIMIT: \"", text,
        "\", expected a number of bytes, or one with KB, MB, GB, KiB, MiB or GiB");
  return number * unit;
}

}  // namespace

Pool::Pool(const Backend* backend, int index, std::function<void()> drain)
    : backend_(backend), index_(index), drain_(std::move(drain)), limit_(memory_limit()) {}

// By now the queue has stopped.
Pool::~Pool() { free_cached(); }

void* Pool::allocate(size_t bytes) {
  const size_t asked = rounded(bytes);
  void* data = reinterpret_cast<void*>(ALIGNMENT);
  if (backend_) {
    Block* block = find(asked);
    if (!block) block = grow(asked);
    if (!block) refuse(asked);
    split(block, asked);
    data = block->data;
  }
  live_ += asked;
  peak_ = std::max(peak_, live_);
  return data;
}

void Pool::refuse(size_t asked) const {
  std::string numbers = std::to_string(asked) + " bytes requested, " + std::to_string(live_) + " in use, " +
                        std::to_string(reserved_) + " reserved";
  if (limit_ != SIZE_MAX) numbers += ", limit " + std::to_string(limit_);
  if (backend_->available) numbers += ", " + std::to_string(backend_->available(index_)) + " free on the device";
  throw Error(Code::Memory, "out of memory: " + numbers +
                                "; lower batchSize or maxLength, raise accumulate, or store the base as bf16");
}

void Pool::release(void* data, size_t bytes) {
  live_ -= rounded(bytes);
  if (!backend_) return;
  Block* block = &blocks_.at(data);
  block->is_free = true;
  if (block->before && block->before->is_free) block = join(block->before, block);
  if (block->after && block->after->is_free) block = join(block, block->after);
  free_.insert({block->size, block->data});
}

// The smallest free block of at least `size`, taken out of the free ones.
Pool::Block* Pool::find(size_t size) {
  const auto found = free_.lower_bound({size, nullptr});
  if (found == free_.end() || (!SPLITS && found->first != size)) return nullptr;
  Block* block = &blocks_.at(found->second);
  free_.erase(found);
  block->is_free = false;
  return block;
}

// A chunk that grows with what is held already, or, where that is refused, one just large enough.
Pool::Block* Pool::grow(size_t size) {
  const size_t step = SPLITS ? std::max(CHUNK, reserved_ / 16 / CHUNK * CHUNK) : CHUNK;
  const size_t generous = size <= SIZE_MAX - step ? (size + step - 1) / step * step : size;
  Block* block = take_chunk(generous);
  if (!block) block = take_chunk(size);
  if (block) return block;
  trim();
  return take_chunk(size);
}

Pool::Block* Pool::take_chunk(size_t size) {
  if (size > limit_ || reserved_ > limit_ - size) return nullptr;
  char* data = static_cast<char*>(backend_->allocate(index_, size));
  if (!data) return nullptr;
  reserved_ += size;
  return &(blocks_[data] = {data, size, nullptr, nullptr, false});
}

// Cuts a block that is in use to `size`; the rest becomes free.
void Pool::split(Block* block, size_t size) {
  if (block->size == size) return;
  char* data = block->data + size;
  Block* rest = &(blocks_[data] = {data, block->size - size, block, block->after, true});
  if (rest->after) rest->after->before = rest;
  block->after = rest;
  block->size = size;
  free_.insert({rest->size, rest->data});
}

// Makes one free block of two neighbours, either of which may be listed as free.
Pool::Block* Pool::join(Block* left, Block* right) {
  free_.erase({left->size, left->data});
  free_.erase({right->size, right->data});
  left->size += right->size;
  left->after = right->after;
  if (left->after) left->after->before = left;
  blocks_.erase(right->data);
  return left;
}

void Pool::trim() {
  if (drain_) drain_();
  free_cached();
}

// Only whole chunks can go back.
void Pool::free_cached() {
  for (auto it = free_.begin(); it != free_.end();) {
    const Block& block = blocks_.at(it->second);
    if (block.before || block.after) {
      ++it;
      continue;
    }
    backend_->release(index_, block.data, block.size);
    reserved_ -= block.size;
    blocks_.erase(it->second);
    it = free_.erase(it);
  }
}

}  // namespace lowrank
