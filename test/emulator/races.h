#pragma once
// What ThreadSanitizer is told where the emulator is built for it (LOWRANK_EMU_RACES, clang): every CUDA thread is a
// TSan fiber, and orders with others by CUDA's own synchronisation alone. Nothing otherwise. The emulator itself is not
// instrumented: its accesses on behalf of kernels are told one by one.
#include <cstddef>

#ifdef LOWRANK_EMU_RACES
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* at);
void __tsan_release(void* at);
void __tsan_read_range(void* at, unsigned long bytes);
void __tsan_write_range(void* at, unsigned long bytes);
}
#endif

namespace lowrank::emulator::races {

#ifdef LOWRANK_EMU_RACES
constexpr bool ON = true;
constexpr unsigned NO_ORDER = 1;  // a switch of fibers orders nothing
inline void* new_fiber() { return __tsan_create_fiber(0); }
inline void* this_fiber() { return __tsan_get_current_fiber(); }
inline void end(void* fiber) {
  if (fiber) __tsan_destroy_fiber(fiber);
}
inline void enter(void* fiber) { __tsan_switch_to_fiber(fiber, NO_ORDER); }
// What came before release(at) comes before what follows acquire(at). `at` is any address.
inline void release(const void* at) { __tsan_release(const_cast<void*>(at)); }
inline void acquire(const void* at) { __tsan_acquire(const_cast<void*>(at)); }
inline void read(const void* at, size_t bytes) { __tsan_read_range(const_cast<void*>(at), bytes); }
inline void write(const void* at, size_t bytes) { __tsan_write_range(const_cast<void*>(at), bytes); }
#else
constexpr bool ON = false;
inline void* new_fiber() { return nullptr; }
inline void* this_fiber() { return nullptr; }
inline void end(void*) {}
inline void enter(void*) {}
inline void release(const void*) {}
inline void acquire(const void*) {}
inline void read(const void*, size_t) {}
inline void write(const void*, size_t) {}
#endif

// Tokens of a barrier that is used again and again: one a phase, so that later arrivals order nothing earlier.
struct Phases {
  const char* now() const { return token + (number & 3); }
  char token[4] = {};
  unsigned number = 0;
};

}  // namespace lowrank::emulator::races
