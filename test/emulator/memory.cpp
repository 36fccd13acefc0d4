// Shared memory of a block, and guarded device memory.

#include <sys/mman.h>

#include <algorithm>
#include <deque>
#include <mutex>

#include "test/emulator/runtime.h"

namespace lowrank::emulator {
namespace {

// The arena of a block: dynamic shared memory first, so that matrix descriptors reach it, then the static variables,
// each part before a page that can't be touched. Address = BASE + offset, the same alignment as on the device.
constexpr uint32_t BASE = 1024;
constexpr uint32_t DYNAMIC = 228 << 10;
constexpr uint32_t STATIC_BEGIN = DYNAMIC + PAGE;
constexpr uint32_t STATIC = 48 << 10;
constexpr uint32_t ARENA = STATIC_BEGIN + STATIC + PAGE;
constexpr uint32_t GAP = 64;  // between static variables
constexpr int RANK_SHIFT = 24;

struct Variable {
  uint32_t offset, bytes;  // offset in the arena
};
std::map<const void*, Variable> variables;                                 // of this launch
uint32_t variables_end = STATIC_BEGIN + GAP, most_static = variables_end;  // now; of all launches

uint32_t whole_pages(size_t bytes) { return uint32_t((bytes + PAGE - 1) / PAGE * PAGE); }

void fill_variable(Block& block, const Variable& variable) {
  std::memset(block.arena + variable.offset, POISON, variable.bytes);
  std::memset(block.arena + variable.offset + variable.bytes, CANARY, GAP);
}

void check_canary(const Block& block, uint32_t begin, uint32_t end, const char* what) {
  for (uint32_t i = begin; i < end; ++i)
    check(uint8_t(block.arena[i]) == CANARY, Code::Cuda, "emulator: a write ", i - begin, " bytes past ", what);
}

// ---- device memory: guard page, band, data, band, guard page
constexpr size_t BAND = 4096;
struct Allocation {
  char* mapped;
  size_t mapped_bytes, bytes;
};
std::mutex allocations_mutex;
std::map<char*, Allocation> allocations;  // by data
constexpr size_t QUARANTINED = 256;
std::deque<Allocation> quarantine;

const char* first_written(const char* begin, const char* end) {
  const char* at = begin;
  for (; at + 8 <= end; at += 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    if (word != ~uint64_t(0)) break;
  }
  while (at < end && uint8_t(*at) == POISON) ++at;
  return at < end ? at : nullptr;
}

}  // namespace

void* allocate(size_t bytes) {
  const size_t inner = BAND + whole_pages(bytes) + BAND;
  void* memory = mmap(nullptr, inner + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  char* mapped = static_cast<char*>(memory);
  mprotect(mapped, PAGE, PROT_NONE);
  mprotect(mapped + PAGE + inner, PAGE, PROT_NONE);
  std::memset(mapped + PAGE, POISON, inner);
  char* data = mapped + PAGE + BAND;
  const std::lock_guard lock(allocations_mutex);
  allocations[data] = {mapped, inner + 2 * PAGE, bytes};
  return data;
}

void release(void* data) {
  if (!data) return;
  const std::lock_guard lock(allocations_mutex);
  const auto found = allocations.find(static_cast<char*>(data));
  if (found == allocations.end()) return;
  // For a while nobody else gets these addresses, so that a late access is seen.
  mprotect(found->second.mapped, found->second.mapped_bytes, PROT_NONE);
  madvise(found->second.mapped, found->second.mapped_bytes, MADV_DONTNEED);
  quarantine.push_back(found->second);
  allocations.erase(found);
  if (quarantine.size() <= QUARANTINED) return;
  munmap(quarantine.front().mapped, quarantine.front().mapped_bytes);
  quarantine.pop_front();
}

void open_memory(bool open) {
  const std::lock_guard lock(allocations_mutex);
  for (const auto& [data, allocation] : allocations)
    mprotect(allocation.mapped + PAGE, allocation.mapped_bytes - 2 * PAGE, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void check_guards() {
  const std::lock_guard lock(allocations_mutex);
  for (const auto& [data, allocation] : allocations) {
    const char* end = data + allocation.bytes;
    if (const char* at = first_written(data - BAND, data)) {
      const size_t distance = size_t(data - at);
      std::memset(data - BAND, POISON, BAND);
      throw Error(Code::Cuda, "emulator: out of bounds: a kernel wrote " + std::to_string(distance) +
                                  " bytes before a buffer of " + std::to_string(allocation.bytes));
    }
    if (const char* at = first_written(end, end + BAND)) {
      std::memset(data + allocation.bytes, POISON, BAND);
      throw Error(Code::Cuda, "emulator: out of bounds: a kernel wrote at byte " + std::to_string(at - data) +
                                  " of a buffer of " + std::to_string(allocation.bytes));
    }
  }
}

uint32_t shared_address(const void* generic) {
  const char* at = static_cast<const char*>(generic);
  for (const Block* block : self().of->cluster->blocks) {
    if (at < block->arena || at >= block->arena + ARENA) continue;
    const uint32_t local = BASE + uint32_t(at - block->arena);
    return block == self().of ? local : local | (block->rank + 1) << RANK_SHIFT;
  }
  fail({}, "a pointer outside shared memory was taken for one into it");
}

void* dynamic_shared() { return self().of->arena; }

void* static_shared(const void* tag, size_t bytes, size_t alignment) {
  const auto found = variables.find(tag);
  if (found != variables.end()) return self().of->arena + found->second.offset;
  const uint32_t align = uint32_t(std::max<size_t>(alignment, 16));
  const Variable variable{(variables_end + align - 1) / align * align, uint32_t(bytes)};
  variables_end = variable.offset + variable.bytes + GAP;
  most_static = std::max(most_static, variables_end);
  if (variables_end > STATIC_BEGIN + STATIC) fail({}, "more than 48 KB of static shared memory");
  if (variables_end - STATIC_BEGIN + launched.shared > (227u << 10) + 16 * GAP)
    fail({}, "static and dynamic shared memory together exceed 227 KB");
  variables[tag] = variable;
  for (const auto& block : runtime.blocks) fill_variable(*block, variable);
  return self().of->arena + variable.offset;
}

uint32_t map_shared(uint32_t address, uint32_t rank, Site site) {
  if (rank >= self().of->cluster->blocks.size()) fail(site, "mapa: rank %u is not in the cluster", rank);
  return (address & ((1u << RANK_SHIFT) - 1)) | (rank + 1) << RANK_SHIFT;
}

char* shared_bytes(uint32_t address, size_t bytes, size_t alignment, const char* what, Site site, Block** block) {
  Block* of = self().of;
  if (const uint32_t rank = address >> RANK_SHIFT) {
    of = of->cluster->blocks[rank - 1];
    if (of->live == 0) fail(site, "%s: the block of rank %u has exited", what, rank - 1);
  }
  const uint32_t offset = (address & ((1u << RANK_SHIFT) - 1)) - BASE;
  const bool dynamic = offset + bytes <= launched.shared;
  const bool fixed = offset >= STATIC_BEGIN && offset + bytes <= variables_end;
  if (!dynamic && !fixed)
    fail(site, "%s: bytes %u to %zu are outside the %zu bytes of dynamic shared memory", what, offset, offset + bytes,
         launched.shared);
  if (address % alignment) fail(site, "%s: shared address 0x%x is no multiple of %zu", what, address, alignment);
  if (block) *block = of;
  return of->arena + offset;
}

const char* async_bytes(const Block& block, const char* in_arena) {
  return block.async_view.empty() ? in_arena : block.async_view.data() + (in_arena - block.arena);
}

void async_write(Block& block, char* in_arena, const void* from, size_t bytes) {
  std::memcpy(in_arena, from, bytes);
  if (!block.async_view.empty()) std::memcpy(block.async_view.data() + (in_arena - block.arena), from, bytes);
}

void fence_proxy_async() {
  Block& block = *self().of;
  block.unfenced.clear();
  if (block.async_view.empty()) return;
  std::memcpy(block.async_view.data(), block.arena, launched.shared);
  std::memcpy(block.async_view.data() + STATIC_BEGIN, block.arena + STATIC_BEGIN, variables_end - STATIC_BEGIN);
}

void fence_mbarrier_init() { self().of->unfenced.clear(); }

void reset_static_shared() {
  variables.clear();
  variables_end = STATIC_BEGIN + GAP;
}

// Once a launch: protects what lies beyond the dynamic part.
void open_arena(Block& block) {
  if (!block.arena) {
    void* memory = mmap(nullptr, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED, Code::Memory, "emulator: no memory for shared memory");
    block.arena = static_cast<char*>(memory);
    mprotect(block.arena + ARENA - PAGE, PAGE, PROT_NONE);
  }
  const uint32_t end = whole_pages(launched.shared);
  mprotect(block.arena, end, PROT_READ | PROT_WRITE);
  mprotect(block.arena + end, STATIC_BEGIN - end, PROT_NONE);
  // Descriptors and transfers are generic over both parts: the view spans them.
  block.async_view.resize(options().proxy && launched.shared ? STATIC_BEGIN + STATIC : 0);
}

void new_pages(char* at, size_t bytes) {
  if (bytes) mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

// Makes TSan forget what an earlier block did there: new pages for what was in use, protected like the old ones.
void renew_arena(Block& block) {
  const uint32_t end = whole_pages(launched.shared);
  new_pages(block.arena, std::max(end, block.used));
  if (block.used > end) mprotect(block.arena + end, block.used - end, PROT_NONE);
  block.used = end;
  new_pages(block.arena + STATIC_BEGIN, whole_pages(most_static - STATIC_BEGIN));
}

// Once a block: poison inside, canaries around.
void fill_arena(Block& block) {
  if (races::ON) renew_arena(block);
  std::memset(block.arena, POISON, launched.shared);
  std::memset(block.arena + launched.shared, CANARY, whole_pages(launched.shared) - launched.shared);
  std::memset(block.arena + STATIC_BEGIN, CANARY, GAP);
  for (const auto& [tag, variable] : variables) fill_variable(block, variable);
  if (block.async_view.empty()) return;
  std::memset(block.async_view.data(), POISON, launched.shared);
  std::memset(block.async_view.data() + STATIC_BEGIN, POISON, variables_end - STATIC_BEGIN);
}

void check_arena(const Block& block) {
  check_canary(block, uint32_t(launched.shared), whole_pages(launched.shared), "dynamic shared memory");
  for (const auto& [tag, variable] : variables) {
    const uint32_t end = variable.offset + variable.bytes;
    check_canary(block, end, end + GAP, "a shared variable");
  }
}

void close_arena(Block& block) {
  if (block.arena) munmap(block.arena, ARENA);
  block.arena = nullptr;
}

}  // namespace lowrank::emulator
