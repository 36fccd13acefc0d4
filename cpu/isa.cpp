#include "cpu/isa.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "core/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace lowrank::cpu {
namespace {

constexpr const char* NAMES[] = {"portable", "avx2", "avx512", "avx512bf16", "amx", "neon", "neonbf16"};

// -1 until the first call. Two threads that come first together find the same answer.
std::atomic<int> chosen{-1};

#if defined(__x86_64__)

// Linux saves the registers of tiles only for a process that asks, once for all its threads. It refuses where a thread
// has too small a stack for signals.
bool may_use_tiles() {
#ifdef __linux__
  constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool granted = syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  return granted;
#else
  return false;
#endif
}

// __builtin_cpu_supports is not asked: the run-time library of some clang distributions answers no to everything.
std::vector<Isa> available() {
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE) || !(ecx & bit_FMA)) return {Isa::Portable};
  // XCR0: which registers the operating system saves; 6 is up to ymm, 0xe6 up to zmm and masks, 0x60000 tiles.
  unsigned xcr0, high;
  __asm__("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
  if ((xcr0 & 6) != 6 || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(ebx & bit_AVX2)) return {Isa::Portable};
  constexpr unsigned wide = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
  if ((xcr0 & 0xe6) != 0xe6 || (ebx & wide) != wide) return {Isa::Portable, Isa::Avx2};
  constexpr unsigned bf16 = 1u << 5, tiles = 1u << 24 | 1u << 22, saved = 0x60000;
  const bool has_tiles = (edx & tiles) == tiles && (xcr0 & saved) == saved;
  if (!__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) || !(eax & bf16)) return {Isa::Portable, Isa::Avx2, Isa::Avx512};
  if (!has_tiles || !may_use_tiles()) return {Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16};
  return {Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx};
}

#elif defined(__aarch64__)

// Older system headers don't name the bit of AT_HWCAP2.
bool has_bf16() {
#if defined(__linux__)
  constexpr unsigned long bf16 = 1ul << 14;
  return getauxval(AT_HWCAP2) & bf16;
#elif defined(__APPLE__)
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname("hw.optional.arm.FEAT_BF16", &value, &size, nullptr, 0) == 0 && value;
#else
  return false;
#endif
}

std::vector<Isa> available() {
  if (!has_bf16()) return {Isa::Portable, Isa::Neon};
  return {Isa::Portable, Isa::Neon, Isa::NeonBf16};
}

#else

std::vector<Isa> available() { return {Isa::Portable}; }

#endif

Isa parse(const char* name) {
  const std::vector<Isa> here = available();
  for (const Isa isa : here)
    if (std::strcmp(name, NAMES[int(isa)]) == 0) return isa;
  for (const char* known : NAMES)
    check(std::strcmp(name, known) != 0, Code::Unsupported, "LOWRANK_ISA: this machine has no ", name, ", its best is ",
          NAMES[int(here.back())], "; unset the variable");
  throw Error(Code::Option, std::string("LOWRANK_ISA: unknown instruction set '") + name +
                                "'; use portable, avx2, avx512, avx512bf16, amx, neon or neonbf16");
}

Isa choose() {
  const char* name = std::getenv("LOWRANK_ISA");
  return name && *name ? parse(name) : available().back();
}

}  // namespace

Isa isa() {
  int value = chosen.load(std::memory_order_relaxed);
  if (value < 0) chosen = value = int(choose());
  return Isa(value);
}

const char* isa_name() { return NAMES[int(isa())]; }

std::vector<const char*> isa_names() {
  std::vector<const char*> names;
  for (const Isa isa : available()) names.push_back(NAMES[int(isa)]);
  return names;
}

void set_isa(const char* name) { chosen = int(name && *name ? parse(name) : choose()); }

}  // namespace lowrank::cpu
