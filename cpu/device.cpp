#include "core/device.h"

#include <cstring>

#include "cpu/pages.h"
#include "cpu/pieces.h"

namespace lowrank {
namespace {

constexpr int64_t COPY_PIECE = 1 << 20;  // bytes

void* allocate(int, size_t bytes) { return cpu::allocate_pages(bytes); }
void release(int, void* data, size_t bytes) { cpu::release_pages(data, bytes); }

// By all threads: the pages of a weight then lie near all of them, not near the one that loads it.
void copy_bytes(void* to, const void* from, size_t bytes) {
  cpu::for_pieces(int64_t(bytes), COPY_PIECE, [&](int64_t begin, int64_t end, int64_t) {
    std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin, size_t(end - begin));
  });
}

}  // namespace

const Backend cpu::backend = {allocate, release, nullptr, nullptr, copy_bytes, copy_bytes};

}  // namespace lowrank
