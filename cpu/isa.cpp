#include "cpu/isa.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "core/error.h"

namespace lowrank::cpu {
namespace {

constexpr const char* NAMES[] = {"portable", "avx2", "avx512", "avx512bf16"};

// -1 until the first call. Two threads that come first together find the same answer.
std::atomic<int> chosen{-1};

Isa parse(const char* name) {
  for (int i = 0; i < 4; ++i) {
    if (std::strcmp(name, NAMES[i]) != 0) continue;
    check(i <= int(best_isa()), Code::Unsupported, "LOWRANK_ISA: this machine has no ", name, ", its best is ",
          NAMES[int(best_isa())], "; unset the variable");
    return Isa(i);
  }
  throw Error(Code::Option, std::string("LOWRANK_ISA: unknown instruction set '") + name +
                                "'; use portable, avx2, avx512 or avx512bf16");
}

Isa choose() {
  const char* name = std::getenv("LOWRANK_ISA");
  return name && *name ? parse(name) : best_isa();
}

}  // namespace

// The compiler's cpuid look-up also asks the operating system whether it saves the wide registers.
Isa best_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Isa::Portable;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
    return Isa::Avx2;
  return __builtin_cpu_supports("avx512bf16") ? Isa::Avx512Bf16 : Isa::Avx512;
#else
  return Isa::Portable;
#endif
}

Isa isa() {
  int value = chosen.load(std::memory_order_relaxed);
  if (value < 0) chosen = value = int(choose());
  return Isa(value);
}

const char* isa_name() { return NAMES[int(isa())]; }

void set_isa(const char* name) { chosen = int(name && *name ? parse(name) : choose()); }

}  // namespace lowrank::cpu
