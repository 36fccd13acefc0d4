#pragma once
// Memory of tensors and of large scratch: in huge pages where the system grants them, which spares page faults and
// misses of the address cache.
#include <cstddef>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace lowrank::cpu {

constexpr size_t HUGE_PAGE = 2 << 20;

// Smaller ones would lose up to as much again to rounding.
constexpr std::align_val_t alignment_of(size_t bytes) {
  return std::align_val_t(bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : 256);
}

// Null where there is no memory left. Nothing is touched: each page comes to be near the thread that first writes it.
inline void* allocate_pages(size_t bytes) {
  void* data = ::operator new(bytes, alignment_of(bytes), std::nothrow);
#ifdef __linux__
  // A hint: where it is refused, pages are small.
  if (data && bytes >= 2 * HUGE_PAGE) madvise(data, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
  return data;
}

inline void release_pages(void* data, size_t bytes) { ::operator delete(data, alignment_of(bytes)); }

}  // namespace lowrank::cpu
