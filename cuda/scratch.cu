// Scratch of ops, handed out of what was lent like a stack; and the measurement of what to lend.

#include "cuda/launch.cuh"
#include "cuda/scratch.h"

namespace lowrank::cuda {
namespace {

constexpr size_t ALIGNMENT = 256;

// What is given back out of order stays taken until all is given back.
struct Arena {
  size_t take(size_t bytes) {
    const size_t begin = used;
    used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    most = std::max(most, used);
    ++held;
    return begin;
  }
  void give_back(size_t begin, size_t end) {
    if (--held == 0) used = 0;
    else if (end == used) used = begin;
  }

  char* base = nullptr;
  size_t size = 0, used = 0, most = 0;
  int held = 0;
};

struct Measurement {
  const Properties* properties = nullptr;
  Arena arena;
  int64_t launches = 0;
};
thread_local Measurement* measurement = nullptr;
thread_local Arena lent;
thread_local uint64_t holders = 0;

uint64_t bit_of(Owner owner, int index) { return uint64_t(1) << (int(owner) * MOST_OF_AN_OWNER + index); }

}  // namespace

void* Scratch::take_bytes(size_t bytes) {
  static_assert(OWNERS * MOST_OF_AN_OWNER <= 64);
  const uint64_t bit = bit_of(owner_, index_);
  check(!(holders & bit), Code::Unsupported, "scratch: owner ", int(owner_), " (", index_, ") holds some already");
  Arena& arena = measurement ? measurement->arena : lent;
  const bool apart = !measurement && (!lent.base || watches_scratch());
  begin_ = arena.take(bytes);
  end_ = arena.used;
  holders |= bit;
  // Addresses that nobody touches while measuring: aligned, and not null.
  data_ = measurement ? reinterpret_cast<void*>(ALIGNMENT + begin_) : lent.base ? lent.base + begin_ : nullptr;
  check(!lent.base || measurement || arena.used <= lent.size, Code::Memory, "scratch: ", arena.used, " bytes; ",
        lent.size, " were measured");
  if (apart) data_ = own_ = allocate_scratch(bytes);
  return data_;
}

Scratch::~Scratch() {
  if (!data_) return;
  holders &= ~bit_of(owner_, index_);
  if (own_) release_scratch(own_);
  (measurement ? measurement->arena : lent).give_back(begin_, end_);
}

Needs measure(int device, void (*kernel)(void*), void* argument) {
  Measurement own;
  own.properties = &properties_on(device);
  struct Restore {
    ~Restore() { measurement = nullptr; }
  } restore;
  measurement = &own;
  kernel(argument);
  return {own.arena.most, own.launches};
}

void lend(void* data, size_t bytes) {
  lent = {};
  holders = 0;
  lent.base = static_cast<char*>(data), lent.size = bytes;
}

bool is_measuring() { return measurement != nullptr; }
void count_launch() { ++measurement->launches; }
const Properties* measured_properties() { return measurement ? measurement->properties : nullptr; }

}  // namespace lowrank::cuda
