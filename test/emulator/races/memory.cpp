// memcpy, operator new and their like for the uninstrumented emulator alone: TSan would take those of the program for a
// kernel's own accesses.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

extern "C" {
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);

void* memset(void* to, int value, size_t bytes) noexcept {
  void* const result = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
  return result;
}

void* memcpy(void* __restrict to, const void* __restrict from, size_t bytes) noexcept {
  void* const result = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
  return result;
}

void* memmove(void* to, const void* from, size_t bytes) noexcept {
  const uintptr_t a = reinterpret_cast<uintptr_t>(to), b = reinterpret_cast<uintptr_t>(from);
  if (a <= b || a >= b + bytes) return memcpy(to, from, bytes);
  for (volatile char* at = static_cast<volatile char*>(to); bytes--;) at[bytes] = static_cast<const char*>(from)[bytes];
  return to;
}
}

void* operator new(size_t bytes) {
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  void* const data = std::malloc(bytes);
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  return data;
}
void operator delete(void* data) noexcept {
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  std::free(data);
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
}
void operator delete(void* data, size_t) noexcept { operator delete(data); }
