#pragma once
// CUDA's intrinsics where kernels run on the CPU: arithmetic, conversions, bits, loads and stores, atomics. Part of
// cuda_runtime.h. Approximate functions are computed exactly: compare with tolerances.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "test/emulator/emulator.h"

using std::max;
using std::min;

template <typename To, typename From>
inline To lowrank_bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// ---- arithmetic, rounded to nearest
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __frsqrt_rn(float x) { return float(1.0 / std::sqrt(double(x))); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __saturatef(float x) { return x > 0.0f ? std::min(x, 1.0f) : 0.0f; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float normcdff(float x) { return float(std::erfc(-double(x) * 0.70710678118654752) / 2); }
inline double normcdf(double x) { return std::erfc(-x * 0.70710678118654752) / 2; }

// ---- fast functions
inline float __expf(float x) { return std::exp(x); }
inline float __exp10f(float x) { return std::pow(10.0f, x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __log10f(float x) { return std::log10(x); }
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __sinf(float x) { return std::sin(x); }
inline float __cosf(float x) { return std::cos(x); }
inline float __tanf(float x) { return std::tan(x); }
inline void __sincosf(float x, float* sine, float* cosine) { *sine = std::sin(x), *cosine = std::cos(x); }
inline float __fdividef(float a, float b) { return a / b; }

// ---- conversions: to nearest even, toward zero, down, up; what does not fit saturates, NaN gives 0
template <typename To>
inline To lowrank_saturated(double x) {
  if (std::isnan(x)) return 0;
  const double low = double(std::numeric_limits<To>::min()), high = double(std::numeric_limits<To>::max());
  if (x <= low) return std::numeric_limits<To>::min();
  return x >= high ? std::numeric_limits<To>::max() : To(x);
}
inline int __float2int_rn(float x) { return lowrank_saturated<int>(std::nearbyint(double(x))); }
inline int __float2int_rz(float x) { return lowrank_saturated<int>(std::trunc(double(x))); }
inline int __float2int_rd(float x) { return lowrank_saturated<int>(std::floor(double(x))); }
inline int __float2int_ru(float x) { return lowrank_saturated<int>(std::ceil(double(x))); }
inline unsigned __float2uint_rn(float x) { return lowrank_saturated<unsigned>(std::nearbyint(double(x))); }
inline unsigned __float2uint_rz(float x) { return lowrank_saturated<unsigned>(std::trunc(double(x))); }
inline long long __float2ll_rn(float x) { return lowrank_saturated<long long>(std::nearbyint(double(x))); }
inline int __double2int_rn(double x) { return lowrank_saturated<int>(std::nearbyint(x)); }
inline float __double2float_rn(double x) { return float(x); }
inline float __int2float_rn(int x) { return float(x); }
inline float __uint2float_rn(unsigned x) { return float(x); }
inline float __ll2float_rn(long long x) { return float(x); }
inline unsigned __float_as_uint(float x) { return lowrank_bits<unsigned>(x); }
inline int __float_as_int(float x) { return lowrank_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return lowrank_bits<float>(x); }
inline float __int_as_float(int x) { return lowrank_bits<float>(x); }
inline long long __double_as_longlong(double x) { return lowrank_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return lowrank_bits<double>(x); }

// ---- bits
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
inline int __mulhi(int a, int b) { return int((int64_t(a) * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)(((unsigned __int128)(a)*b) >> 64);
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)(x)) : 64; }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= (x >> i & 1) << (31 - i);
  return reversed;
}
// Nibble i of the selector picks byte i of the result from b:a; with its top bit, the sign of that byte, repeated.
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const uint64_t bytes = uint64_t(b) << 32 | a;
  unsigned picked = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned nibble = selector >> 4 * i & 15, byte = unsigned(bytes >> 8 * (nibble & 7)) & 0xff;
    picked |= (nibble & 8 ? (byte & 0x80 ? 0xffu : 0u) : byte) << 8 * i;
  }
  return picked;
}
// Bytes of 0xff where a's byte is less than b's, unsigned; 0 elsewhere.
inline unsigned __vcmpltu4(unsigned a, unsigned b) {
  unsigned less = 0;
  for (int i = 0; i < 32; i += 8) less |= ((a >> i & 0xff) < (b >> i & 0xff) ? 0xffu : 0u) << i;
  return less;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
  return unsigned((uint64_t(high) << 32 | low) >> (32 - (by & 31)));
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
  return unsigned((uint64_t(high) << 32 | low) >> (by & 31));
}
inline int __dp4a(int a, int b, int sum) {
  for (int i = 0; i < 4; ++i) sum += int(int8_t(unsigned(a) >> 8 * i)) * int(int8_t(unsigned(b) >> 8 * i));
  return sum;
}

// ---- loads and stores with a hint for the caches
#define LOWRANK_LOAD(name)                                                                                             \
  template <typename T>                                                                                                \
  T name(const T* from) {                                                                                              \
    return *from;                                                                                                      \
  }
#define LOWRANK_STORE(name)                                                                                            \
  template <typename T>                                                                                                \
  void name(T* to, T value) {                                                                                          \
    *to = value;                                                                                                       \
  }
LOWRANK_LOAD(__ldg)
LOWRANK_LOAD(__ldca)
LOWRANK_LOAD(__ldcg)
LOWRANK_LOAD(__ldcs)
LOWRANK_LOAD(__ldlu)
LOWRANK_LOAD(__ldcv)
LOWRANK_STORE(__stcg)
LOWRANK_STORE(__stcs)
LOWRANK_STORE(__stwb)
LOWRANK_STORE(__stwt)
#undef LOWRANK_LOAD
#undef LOWRANK_STORE

// ---- atomics: threads change places only where they synchronise, so nothing comes in between
template <typename T, typename F>
T lowrank_atomic(T* at, F&& update) {
#ifdef LOWRANK_EMU_RACES
  lowrank::emulator::atomic_access(at);
  T old, next;
  __atomic_load(at, &old, __ATOMIC_RELAXED);
  do next = update(old);
  while (!__atomic_compare_exchange(at, &old, &next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
#else
  const T old = *at;
  *at = update(old);
#endif
  return old;
}
#define LOWRANK_ATOMIC(name, result)                                                                                   \
  template <typename T>                                                                                                \
  T name(T* at, std::type_identity_t<T> value) {                                                                       \
    return lowrank_atomic(at, [value](T old) { return T(result); });                                                   \
  }
LOWRANK_ATOMIC(atomicAdd, old + value)
LOWRANK_ATOMIC(atomicSub, old - value)
LOWRANK_ATOMIC(atomicExch, (void(old), value))
LOWRANK_ATOMIC(atomicMin, std::min(old, value))
LOWRANK_ATOMIC(atomicMax, std::max(old, value))
LOWRANK_ATOMIC(atomicAnd, old& value)
LOWRANK_ATOMIC(atomicOr, old | value)
LOWRANK_ATOMIC(atomicXor, old ^ value)
LOWRANK_ATOMIC(atomicInc, old >= value ? 0 : old + 1)
#undef LOWRANK_ATOMIC
template <typename T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return lowrank_atomic(at, [=](T old) { return old == expected ? value : old; });
}

// ---- others
inline void __trap(lowrank::emulator::Site site = lowrank::emulator::Site::here()) {
  lowrank::emulator::fail(site, "__trap");
}
inline void __nanosleep(unsigned, lowrank::emulator::Site site = lowrank::emulator::Site::here()) {
  lowrank::emulator::yield(site);
}
