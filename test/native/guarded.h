#pragma once
#include <sys/mman.h>

#include <cstddef>

namespace lowrank::test {

// Memory between two forbidden pages, flush with the one behind it (or with the one before it).
struct Guarded {
  Guarded(size_t bytes, bool at_end) : length((bytes + 4095) / 4096 * 4096 + 8192) {
    base = static_cast<char*>(mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base, 4096, PROT_NONE);
    mprotect(base + length - 4096, 4096, PROT_NONE);
    data = at_end ? base + length - 4096 - bytes : base + 4096;
  }
  ~Guarded() { munmap(base, length); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  size_t length;
  char* base;
  char* data;
};

}  // namespace lowrank::test
