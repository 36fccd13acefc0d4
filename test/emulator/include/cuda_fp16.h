#pragma once
// __half where kernels run on the CPU: storage and conversions, rounded to nearest even.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "test/emulator/emulator.h"

struct __half {
  static constexpr auto format = lowrank::emulator::Element::F16;
  __half() = default;
  __half(float x) : bits(rounded(x)) {}
  __half(double x) : __half(odd(x)) {}
  operator float() const { return widened(bits); }

  static uint16_t rounded(float x) {
    uint32_t u;
    std::memcpy(&u, &x, 4);
    const uint16_t sign = uint16_t(u >> 16 & 0x8000);
    if ((u & 0x7fffffff) > 0x7f800000) return 0x7fff;
    const double scaled = std::fabs(double(x));
    if (scaled >= 65520) return sign | 0x7c00;
    // The spacing of halves around x, and the nearest multiple of it; ties go to even in the default rounding mode.
    int exponent = 0;
    std::frexp(scaled, &exponent);
    const double spacing = std::ldexp(1.0, exponent > -13 ? exponent - 11 : -24);
    const double nearest = std::nearbyint(scaled / spacing) * spacing;
    if (nearest < std::ldexp(1.0, -14)) return sign | uint16_t(std::ldexp(nearest, 24));
    const double mantissa = std::frexp(nearest, &exponent) * 2 - 1;
    return sign | uint16_t(((exponent + 14) << 10) + int(mantissa * 1024));
  }
  static float widened(uint16_t bits) {
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const float sign = bits & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * std::ldexp(float(mantissa), -24);
    return sign * std::ldexp(float(1024 + mantissa), exponent - 25);
  }
  // f64 to f32 that keeps a trace of what was cut off, so that rounding again rounds once.
  static float odd(double x) {
    const float f = float(x);
    if (double(f) == x || !std::isfinite(f)) return f;
    uint32_t u;
    std::memcpy(&u, &f, 4);
    if ((std::fabs(double(f)) > std::fabs(x))) u -= 1;
    u |= 1;
    float result;
    std::memcpy(&result, &u, 4);
    return result;
  }

  uint16_t bits;
};
struct alignas(4) __half2 {
  __half x, y;
};

inline __half __float2half(float x) { return __half(x); }
inline __half __double2half(double x) { return __half(x); }
inline float __half2float(__half x) { return float(x); }
inline __half2 __floats2half2_rn(float x, float y) { return {__half(x), __half(y)}; }
inline __half __float2half_rn(float x) { return __half(x); }
inline unsigned short __half_as_ushort(__half x) { return x.bits; }
inline __half __ushort_as_half(unsigned short bits) {
  __half x;
  x.bits = bits;
  return x;
}

// Arithmetic of one and of two, each rounded once.
inline __half __hadd(__half a, __half b) { return __half(float(a) + float(b)); }
inline __half __hsub(__half a, __half b) { return __half(float(a) - float(b)); }
inline __half __hmul(__half a, __half b) { return __half(float(a) * float(b)); }
inline __half __hfma(__half a, __half b, __half c) { return __half(std::fma(double(a), double(b), double(c))); }
#define LOWRANK_TWO(type, two)                                                                                         \
  inline two __hadd2(two a, two b) { return {type(float(a.x) + float(b.x)), type(float(a.y) + float(b.y))}; }          \
  inline two __hsub2(two a, two b) { return {type(float(a.x) - float(b.x)), type(float(a.y) - float(b.y))}; }          \
  inline two __hmul2(two a, two b) { return {type(float(a.x) * float(b.x)), type(float(a.y) * float(b.y))}; }          \
  inline two __hfma2(two a, two b, two c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }                   \
  inline two __hmax2(two a, two b) {                                                                                   \
    return {type(std::fmax(float(a.x), float(b.x))), type(std::fmax(float(a.y), float(b.y)))};                         \
  }                                                                                                                    \
  inline two __hmin2(two a, two b) {                                                                                   \
    return {type(std::fmin(float(a.x), float(b.x))), type(std::fmin(float(a.y), float(b.y)))};                         \
  }                                                                                                                    \
  inline two __hneg2(two a) { return {type(-float(a.x)), type(-float(a.y))}; }                                         \
  inline float __low2float(two a) { return float(a.x); }                                                               \
  inline float __high2float(two a) { return float(a.y); }
LOWRANK_TWO(__half, __half2)
inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
inline __half2 __half2half2(__half x) { return {x, x}; }
inline __half2 __float2half2_rn(float x) { return {__half(x), __half(x)}; }
inline __half2 __float22half2_rn(float2 x) { return {__half(x.x), __half(x.y)}; }
inline float2 __half22float2(__half2 x) { return {float(x.x), float(x.y)}; }
inline __half __low2half(__half2 x) { return x.x; }
inline __half __high2half(__half2 x) { return x.y; }
