#include "cpu/isa.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "core/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

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

#if defined(__x86_64__)

// __builtin_cpu_supports is not asked: the run-time library of some clang distributions answers no to everything.
Isa best_isa() {
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE) || !(ecx & bit_FMA)) return Isa::Portable;
  // XCR0: which registers the operating system saves; 6 is up to ymm, 0xe6 up to zmm and masks.
  unsigned xcr0, high;
  __asm__("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
  if ((xcr0 & 6) != 6 || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(ebx & bit_AVX2)) return Isa::Portable;
  constexpr unsigned wide = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
  if ((xcr0 & 0xe6) != 0xe6 || (ebx & wide) != wide) return Isa::Avx2;
  constexpr unsigned bf16 = 1u << 5;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & bf16) ? Isa::Avx512Bf16 : Isa::Avx512;
}

#else

Isa best_isa() { return Isa::Portable; }

#endif

Isa isa() {
  int value = chosen.load(std::memory_order_relaxed);
  if (value < 0) chosen = value = int(choose());
  return Isa(value);
}

const char* isa_name() { return NAMES[int(isa())]; }

void set_isa(const char* name) { chosen = int(name && *name ? parse(name) : choose()); }

}  // namespace lowrank::cpu
