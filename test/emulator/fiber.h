#pragma once
#include <cstddef>
#if !defined(__x86_64__) && !defined(LOWRANK_EMU_UCONTEXT)
#define LOWRANK_EMU_UCONTEXT
#endif
#ifdef LOWRANK_EMU_UCONTEXT
#include <ucontext.h>
#endif

namespace lowrank::emulator {

// A call stack that can be left and entered again. On x86-64 a switch is a dozen instructions; elsewhere ucontext,
// which asks the system for the signal mask, about twenty times slower.
struct Fiber {
#ifndef LOWRANK_EMU_UCONTEXT
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
};

// The next switch to `fiber` calls entry(), which never returns.
void prepare(Fiber& fiber, char* stack, size_t bytes, void (*entry)());
void switch_fiber(Fiber& from, Fiber& to);
// Before a stack is given back: what AddressSanitizer holds of abandoned frames would stay with the addresses.
void forget_stack(char* stack, size_t bytes);

}  // namespace lowrank::emulator
