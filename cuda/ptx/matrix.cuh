#pragma once
// Matrices in registers: ldmatrix, stmatrix, mma.sync, and conversions of their elements. In fragment layouts,
// g = lane / 4 and t = lane % 4.

#include "cuda/ptx/base.cuh"
#include "cuda/ptx/operands.h"

namespace lowrank::ptx {

// ldmatrix.m8n8.xN.b16, N of 1, 2, 4: lanes 8m to 8m + 7 give the 16-byte rows of 8x8 matrix m. r[m] of a lane holds
// elements (g, 2t) low and (g, 2t + 1) high; with Transpose (2t, g) and (2t + 1, g).
#define PTX_LDMATRIX(n, trans)                                                                                         \
  asm volatile("ldmatrix.sync.aligned.m8n8.x" #n trans ".shared.b16 {" MATRIX_NAMES_##n "}, [" MATRIX_ADDRESS_##n "];" \
               : MATRIX_OUT_##n                                                                                        \
               : "r"(at)                                                                                               \
               : "memory")
#define PTX_STMATRIX(n, trans)                                                                                         \
  asm volatile("stmatrix.sync.aligned.m8n8.x" #n trans ".shared.b16 [" MATRIX_ADDRESS_##n "], {" MATRIX_NAMES_##n      \
               "};" ::MATRIX_IN_##n,                                                                                   \
               "r"(at)                                                                                                 \
               : "memory")
#define PTX_MATRICES(instruction, trans)                                                                               \
  if constexpr (N == 1) instruction(1, trans);                                                                         \
  else if constexpr (N == 2) instruction(2, trans);                                                                    \
  else instruction(4, trans)
template <bool Transpose = false, int N>
PTX_FN void ldmatrix(uint32_t (&r)[N], uint32_t at PTX_AND_SITE) {
  static_assert(N == 1 || N == 2 || N == 4);
  if constexpr (Transpose) {
    PTX(PTX_MATRICES(PTX_LDMATRIX, ".trans"), emulator::ldmatrix(r, N, at, true, site));
  } else {
    PTX(PTX_MATRICES(PTX_LDMATRIX, ""), emulator::ldmatrix(r, N, at, false, site));
  }
}
// stmatrix.m8n8.xN.b16: the way back.
template <bool Transpose = false, int N>
PTX_FN void stmatrix(uint32_t at, const uint32_t (&r)[N] PTX_AND_SITE) {
  static_assert(N == 1 || N == 2 || N == 4);
  if constexpr (Transpose) {
    PTX_SM90(PTX_MATRICES(PTX_STMATRIX, ".trans"), emulator::stmatrix(r, N, at, true, site));
  } else {
    PTX_SM90(PTX_MATRICES(PTX_STMATRIX, ""), emulator::stmatrix(r, N, at, false, site));
  }
}
// mma.sync.m16n8k16.row.col, d += a b in f32. a: rows g, g + 8 at columns 2t, 2t + 1, then the same at columns + 8;
// b: rows 2t, 2t + 1, then rows + 8, of column g; d: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
#define PTX_MMA(shape_and_types)                                                                                       \
  asm volatile("mma.sync.aligned." shape_and_types " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"  \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                        \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
template <typename T>
PTX_FN void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2] PTX_AND_SITE) {
  static_assert(is_tensor_core_type<T>);
  if constexpr (std::is_same_v<T, __half>) {
    PTX(PTX_MMA("m16n8k16.row.col.f32.f16.f16.f32"), emulator::mma(d, a, b, emulator::element_of<T>, site));
  } else {
    PTX(PTX_MMA("m16n8k16.row.col.f32.bf16.bf16.f32"), emulator::mma(d, a, b, emulator::element_of<T>, site));
  }
}
// mma.sync.m16n8k8 of tf32: a: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4); b: (t, g), (t + 4, g); d as above.
PTX_FN void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2] PTX_AND_SITE) {
  PTX(PTX_MMA("m16n8k8.row.col.f32.tf32.tf32.f32"), emulator::mma(d, a, b, emulator::Element::TF32, site));
}

// ex2.approx.ftz, rsqrt.approx.ftz: relative error about 2^-22.
PTX_FN float exp2_approx(float x) {
  float y = 0;
  PTX(asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)), y = exp2f(x));
  return y;
}
// cvt.rna.tf32: to 10 bits of mantissa, ties away from zero.
PTX_FN uint32_t to_tf32(float x) {
  uint32_t bits = 0;
  PTX(asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x)), bits = (__float_as_uint(x) + 0x1000) & 0xffffe000);
  return bits;
}

}  // namespace lowrank::ptx
