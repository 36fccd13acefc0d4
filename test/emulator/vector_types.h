#pragma once
// The vector types of CUDA that kernels use.

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  unsigned x, y, z;
};

#define LOWRANK_VECTOR2(type, element)                                                                                 \
  struct alignas(2 * sizeof(element)) type {                                                                           \
    element x, y;                                                                                                      \
  };                                                                                                                   \
  inline type make_##type(element x, element y) { return {x, y}; }
#define LOWRANK_VECTOR4(type, element)                                                                                 \
  struct alignas(4 * sizeof(element) < 16 ? 4 * sizeof(element) : 16) type {                                           \
    element x, y, z, w;                                                                                                \
  };                                                                                                                   \
  inline type make_##type(element x, element y, element z, element w) { return {x, y, z, w}; }
LOWRANK_VECTOR2(float2, float)
LOWRANK_VECTOR2(double2, double)
LOWRANK_VECTOR2(int2, int)
LOWRANK_VECTOR2(uint2, unsigned)
LOWRANK_VECTOR4(float4, float)
LOWRANK_VECTOR4(double4, double)
LOWRANK_VECTOR4(int4, int)
LOWRANK_VECTOR4(uint4, unsigned)
LOWRANK_VECTOR4(uchar4, unsigned char)
#undef LOWRANK_VECTOR2
#undef LOWRANK_VECTOR4
