#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace lowrank::cpu {

// Threads that work on one kernel, the caller included: LOWRANK_THREADS, else the cores this process may use.
int threads();
void set_threads(int count);

namespace detail {
using Body = void (*)(void* context, int64_t piece);
void run(int64_t pieces, Body body, void* context);
}  // namespace detail

// Pieces of b that a is cut into.
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Calls body(piece) once for every piece of [0, pieces), in any order, on any thread of the process-wide pool, and
// returns when all are done. Sums over pieces need a cut that does not depend on threads() (pieces.h), and then results
// don't either. Where another environment holds the pool, or inside a body, it runs in the calling thread.
template <typename F>
void parallel_for(int64_t pieces, F&& body) {
  using Fn = std::remove_reference_t<F>;
  detail::run(
      pieces, [](void* context, int64_t piece) { (*static_cast<Fn*>(context))(piece); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// Kernel scratch of the calling thread: 64-byte aligned, grows, is kept for the next kernel. One block per slot; asking
// for a slot again may move it. Shared scratch: let the calling thread ask before parallel_for.
void* scratch(int slot, size_t bytes);
constexpr int SCRATCH_SLOTS = 8;
// Bytes of scratch held by all threads now.
size_t scratch_bytes();

}  // namespace lowrank::cpu
