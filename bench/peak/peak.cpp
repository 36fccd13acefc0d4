// What one core of this processor can do at most: multiply-adds on registers alone, in GFLOP/s of CPU time, for f32
// and for bf16 in the instruction set that products use. Prints one JSON object: of bursts of about a millisecond, one
// after the other, the fastest of the first hundred, and the middle one of all, the rate that the core sustains.
//   build/test/peak_bench                                                              (LOWRANK_ISA)

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "core/error.h"
#include "cpu/isa.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

constexpr int64_t STEPS = 100000;  // of 12 independent chains: a burst of about a millisecond

double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

#if defined(__x86_64__)

// The accumulators are named to the compiler as changed by each step, so that none is left out.
__attribute__((target("avx2,fma"))) double avx2() {
  __m256 acc[12] = {}, x = _mm256_set1_ps(1e-9f);
  for (int64_t step = 0; step < STEPS; ++step)
#pragma GCC unroll 12
    for (__m256& each : acc) {
      each = _mm256_fmadd_ps(x, x, each);
      __asm__ volatile("" : "+x"(each));
    }
  return 12 * 8 * 2 * double(STEPS);
}

__attribute__((target("avx512f"))) double avx512() {
  __m512 acc[12] = {}, x = _mm512_set1_ps(1e-9f);
  for (int64_t step = 0; step < STEPS; ++step)
#pragma GCC unroll 12
    for (__m512& each : acc) {
      each = _mm512_fmadd_ps(x, x, each);
      __asm__ volatile("" : "+v"(each));
    }
  return 12 * 16 * 2 * double(STEPS);
}

__attribute__((target("avx512f,avx512bf16"))) double avx512bf16() {
  __m512 acc[12] = {};
  const __m512bh x = (__m512bh)_mm512_set1_epi16(0x3000);
  for (int64_t step = 0; step < STEPS; ++step)
#pragma GCC unroll 12
    for (__m512& each : acc) {
      each = _mm512_dpbf16_ps(each, x, x);
      __asm__ volatile("" : "+v"(each));
    }
  return 12 * 32 * 2 * double(STEPS);
}

// Six tiles of 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start = 0, zeros[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16};
};
const TileConfig config;

// Tiles may be used since cpu::isa() asked the operating system for them.
__attribute__((target("amx-tile,amx-bf16"))) double amx() {
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  for (int64_t step = 0; step < STEPS / 10; ++step) {
    _tile_dpbf16ps(0, 4, 5);
    _tile_dpbf16ps(1, 4, 5);
    _tile_dpbf16ps(2, 4, 5);
    _tile_dpbf16ps(3, 4, 5);
  }
  _tile_release();
  return 4 * 16 * 16 * 32 * 2 * double(STEPS / 10);
}

#endif

using Burst = double (*)();  // runs, and says how many operations that were

constexpr int BURSTS = 500, BEST_OF = 100;

struct Rates {
  double best = 0, sustained = 0;  // GFLOP/s
};

Rates rates_of(Burst burst) {
  if (!burst) return {};
  std::vector<double> found(BURSTS);
  for (double& rate : found) {
    const double start = cpu_seconds(), operations = burst();
    rate = operations / (cpu_seconds() - start) * 1e-9;
  }
  const double best = *std::max_element(found.begin(), found.begin() + BEST_OF);
  std::nth_element(found.begin(), found.begin() + BURSTS / 2, found.end());
  return {best, found[BURSTS / 2]};
}

struct Bursts {
  Burst f32 = nullptr, bf16 = nullptr;
};

// Where bf16 has no instruction of its own, its products are f32's.
Bursts bursts() {
  using lowrank::cpu::Isa;
#if defined(__x86_64__)
  switch (lowrank::cpu::isa()) {
    case Isa::Amx: return {avx512, amx};
    case Isa::Avx512Bf16: return {avx512, avx512bf16};
    case Isa::Avx512: return {avx512, avx512};
    case Isa::Avx2: return {avx2, avx2};
    default: break;
  }
#endif
  return {};
}

}  // namespace

int main() {
  try {
    const Bursts own = bursts();
    const Rates f32 = rates_of(own.f32), bf16 = rates_of(own.bf16);
    std::printf(
        "{\"isa\": \"%s\", \"f32_gflops\": %.1f, \"f32_sustained\": %.1f, \"bf16_gflops\": %.1f, "
        "\"bf16_sustained\": %.1f}\n",
        lowrank::cpu::isa_name(), f32.best, f32.sustained, bf16.best, bf16.sustained);
  } catch (const lowrank::Error& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
  }
}
