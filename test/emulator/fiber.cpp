#include "test/emulator/fiber.h"

#include <cstdint>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#ifndef LOWRANK_EMU_UCONTEXT

// lowrank_emu_switch(void** save, void* load): what a call preserves goes on the old stack, and comes from the new one.
asm(R"(
  .text
  .p2align 4
  .hidden lowrank_emu_switch
  .globl lowrank_emu_switch
  .type lowrank_emu_switch, @function
lowrank_emu_switch:
  subq $48, %rsp
  movq %rbx, 0(%rsp)
  movq %rbp, 8(%rsp)
  movq %r12, 16(%rsp)
  movq %r13, 24(%rsp)
  movq %r14, 32(%rsp)
  movq %r15, 40(%rsp)
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  movq 0(%rsp), %rbx
  movq 8(%rsp), %rbp
  movq 16(%rsp), %r12
  movq 24(%rsp), %r13
  movq 32(%rsp), %r14
  movq 40(%rsp), %r15
  addq $48, %rsp
  ret
  .size lowrank_emu_switch, . - lowrank_emu_switch
)");
extern "C" void lowrank_emu_switch(void** save, void* load);

#endif

namespace lowrank::emulator {

void forget_stack([[maybe_unused]] char* stack, [[maybe_unused]] size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(stack, bytes);
#endif
}

void prepare(Fiber& fiber, char* stack, size_t bytes, void (*entry)()) {
  forget_stack(stack, bytes);  // what an abandoned fiber left behind
#ifndef LOWRANK_EMU_UCONTEXT
  // From the top: a return address that nobody uses, which also makes the stack 8 off a multiple of 16 as after a call,
  // the entry, six registers.
  void** top = reinterpret_cast<void**>(stack + bytes);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  fiber.stack_pointer = top;
#else
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stack;
  fiber.context.uc_stack.ss_size = bytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry, 0);
#endif
}

void switch_fiber(Fiber& from, Fiber& to) {
#ifndef LOWRANK_EMU_UCONTEXT
  lowrank_emu_switch(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.context, &to.context);
#endif
}

}  // namespace lowrank::emulator
