#pragma once
// Scalar conversions between element types. Everything that rounds rounds once, to nearest even.
#include <cstdint>
#include <cstring>
#include <string>

#include "core/view.h"

namespace lowrank::cpu {

// Storage formats without arithmetic, told apart by type.
struct Bf16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};

inline uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

inline float float_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

inline float widen(float x) { return x; }
inline double widen(double x) { return x; }
inline float widen(Bf16 x) { return float_of(uint32_t(x.bits) << 16); }

inline float widen(F16 x) {
  // The exponent is rebased by a product, which also normalises subnormals; infinity and NaN keep all exponent bits.
  const uint32_t magnitude = uint32_t(x.bits & 0x7fff) << 13;
  uint32_t bits = bits_of(float_of(magnitude) * 0x1p112f);
  if (magnitude >= 0x0f800000u) bits |= 0x7f800000u;
  return float_of(bits | uint32_t(x.bits & 0x8000) << 16);
}

inline Bf16 to_bf16(float x) {
  const uint32_t bits = bits_of(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {uint16_t(bits >> 16 | 0x40)};
  return {uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

inline F16 to_f16(float x) {
  const uint32_t sign = bits_of(x) >> 16 & 0x8000, magnitude = bits_of(x) & 0x7fffffffu;
  uint32_t half;
  if (magnitude > 0x7f800000u) half = 0x7e00 | (magnitude >> 13 & 0x3ff);
  else if (magnitude >= 0x477ff000u) half = 0x7c00;                                              // 65520 and above
  else if (magnitude < 0x38800000u) half = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);  // ulp(1/2) = 2^-24
  else half = (magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
  return {uint16_t(sign | half)};
}

// f64 to f32 rounded to odd: a second rounding to a shorter format then gives the nearest of the f64 value.
inline float to_odd(double x) {
  const float nearest = float(x);
  if (!(double(nearest) != x) || nearest != nearest) return nearest;
  uint32_t bits = bits_of(nearest);
  const double magnitude = x < 0 ? -x : x;
  if (double(nearest < 0 ? -nearest : nearest) > magnitude) --bits;
  return float_of(bits | 1);
}

template <typename To>
struct Convert {
  template <typename From>
  static To from(From x) {
    return To(widen(x));
  }
  static To from(int32_t x) { return To(x); }
  static To from(int64_t x) { return To(x); }
  static To from(uint8_t x) { return To(x); }
};

template <>
struct Convert<Bf16> {
  static Bf16 from(Bf16 x) { return x; }
  static Bf16 from(double x) { return to_bf16(to_odd(x)); }
  template <typename From>
  static Bf16 from(From x) {
    return to_bf16(widen(x));
  }
};

template <>
struct Convert<F16> {
  static F16 from(F16 x) { return x; }
  static F16 from(double x) { return to_f16(to_odd(x)); }
  template <typename From>
  static F16 from(From x) {
    return to_f16(widen(x));
  }
};

// Calls f with a value of the view's element type, for the four floating point formats.
template <typename F>
void dispatch_float(const View& x, F&& f) {
  switch (x.dtype) {
    case DType::F32: return f(float{});
    case DType::F64: return f(double{});
    case DType::BF16: return f(Bf16{});
    case DType::F16: return f(F16{});
    default: throw Error(Code::DType, std::string("no CPU kernel for ") + name_of(x.dtype));
  }
}

}  // namespace lowrank::cpu
