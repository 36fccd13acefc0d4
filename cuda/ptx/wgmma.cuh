#pragma once
// wgmma, products of a warpgroup from shared memory, and the split of registers between warpgroups; sm_90a.

#include "cuda/ptx/base.cuh"
#include "cuda/ptx/operands.h"

namespace lowrank::ptx {

// Matrix descriptor. 16-bit operand (mn, k), rows along k: `stride` bytes between groups of 8 rows, `leading` unused.
// Transposed, lines of Swizzle bytes along mn: `stride` between groups of 8 k, `leading` between lines along mn.
// Swizzle: 32, 64, 128 bytes, or 0, where cores of 8 x 16 bytes lie `stride` apart along mn and `leading` along k.
template <int Swizzle>
PTX_FN uint64_t wgmma_descriptor(uint32_t at, uint32_t leading, uint32_t stride) {
  constexpr uint64_t mode = Swizzle == 128 ? 1 : Swizzle == 64 ? 2 : Swizzle == 32 ? 3 : 0;
  return uint64_t(at & 0x3ffff) >> 4 | uint64_t(leading >> 4 & 0x3fff) << 16 | uint64_t(stride >> 4 & 0x3fff) << 32 |
         mode << 62;
}
// wgmma.fence: before the first product, and after accumulators or register operands were touched.
PTX_FN void wgmma_fence(PTX_SITE) {
  PTX_SM90A(asm volatile("wgmma.fence.sync.aligned;" ::: "memory"), emulator::wgmma_fence(site));
}
// wgmma.commit_group, .wait_group: accumulators may be read once their group is no longer pending.
PTX_FN void wgmma_commit(PTX_SITE) {
  PTX_SM90A(asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"), emulator::wgmma_commit(site));
}
template <int Pending>
PTX_FN void wgmma_wait(PTX_SITE) {
  PTX_SM90A(asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending)
                         : "memory"),
            emulator::wgmma_wait(Pending, site));
}
#define PTX_WGMMA_SS(N, count, type, a, b, p, ta, tb, ...)                                                             \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #p ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type    \
               "." type " {" WGMMA_NAMES_##count "}, %" #a ", %" #b ", p, 1, 1, %" #ta ", %" #tb ";\n}"                \
               : WGMMA_OUT_##count                                                                                     \
               : "l"(a_desc), "l"(b_desc), "r"(int(accumulate)), "n"(int(TransA)), "n"(int(TransB)))
#define PTX_WGMMA_RS(N, count, type, a0, a1, a2, a3, b, p, tb)                                                         \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #p ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type    \
               "." type " {" WGMMA_NAMES_##count "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #b                   \
                                                 ", p, 1, 1, %" #tb ";\n}"                                             \
               : WGMMA_OUT_##count                                                                                     \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b_desc), "r"(int(accumulate)), "n"(int(TransB)))
#define PTX_WGMMA_SS_OF(n, count, ...)                                                                                 \
  if constexpr (N == n && std::is_same_v<T, __half>) PTX_WGMMA_SS(n, count, "f16", __VA_ARGS__);                       \
  if constexpr (N == n && std::is_same_v<T, __nv_bfloat16>) PTX_WGMMA_SS(n, count, "bf16", __VA_ARGS__);
#define PTX_WGMMA_RS_OF(n, count, ...)                                                                                 \
  if constexpr (N == n && std::is_same_v<T, __half>) PTX_WGMMA_RS(n, count, "f16", __VA_ARGS__);                       \
  if constexpr (N == n && std::is_same_v<T, __nv_bfloat16>) PTX_WGMMA_RS(n, count, "bf16", __VA_ARGS__);
// wgmma.mma_async.m64nNk16.f32: d[64, N] (+)= a[64, 16] b[16, N], N a multiple of 16; T: __nv_bfloat16, __half. Warp w
// of four holds rows 16 w + g (d[4j], d[4j + 1]) and + 8 (d[4j + 2], d[4j + 3]), columns 8j + 2t and + 1.
template <typename T, int N, bool TransA = false, bool TransB = false>
PTX_FN void wgmma(float (&d)[N / 2], uint64_t a_desc, uint64_t b_desc, bool accumulate PTX_AND_SITE) {
  static_assert(N >= 16 && N <= 256 && N % 16 == 0 && is_tensor_core_type<T>);
  PTX_SM90A(
      WGMMA_SHAPES(PTX_WGMMA_SS_OF),
      emulator::wgmma({emulator::element_of<T>, N, d, nullptr, a_desc, b_desc, TransA, TransB, accumulate}, site));
}
// The same with a in registers, each warp its 16 rows laid out as in mma.
template <typename T, int N, bool TransB = false>
PTX_FN void wgmma(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b_desc, bool accumulate PTX_AND_SITE) {
  static_assert(N >= 16 && N <= 256 && N % 16 == 0 && is_tensor_core_type<T>);
  PTX_SM90A(WGMMA_SHAPES(PTX_WGMMA_RS_OF),
            emulator::wgmma({emulator::element_of<T>, N, d, a, 0, b_desc, false, TransB, accumulate}, site));
}
// setmaxnreg.inc and .dec: registers a thread of this warpgroup, a multiple of 8 from 24 to 256.
template <int Registers>
PTX_FN void registers_up(PTX_SITE) {
  static_assert(Registers % 8 == 0 && Registers >= 24 && Registers <= 256);
  PTX_SM90A(asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers)),
            emulator::check_converged("setmaxnreg", site));
}
template <int Registers>
PTX_FN void registers_down(PTX_SITE) {
  static_assert(Registers % 8 == 0 && Registers >= 24 && Registers <= 256);
  PTX_SM90A(asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers)),
            emulator::check_converged("setmaxnreg", site));
}

}  // namespace lowrank::ptx
