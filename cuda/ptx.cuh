#pragma once
// Every instruction that C++ has no word for, one function each: the only file with inline PTX. Each function has two
// bodies, chosen by the compiler: PTX under nvcc, a call of the emulator (test/emulator/) where kernels run on the CPU.
// Instructions of Hopper compile for every architecture and trap below sm_90; kernels are chosen on the host.
//
// In fragment layouts, g = lane / 4 and t = lane % 4. A shared address is 32 bits wide, made by shared_address().

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "cuda/ptx_operands.h"

#ifdef __CUDACC__
#include <cuda.h>
#define PTX_FN __device__ __forceinline__
#define PTX_SITE
#define PTX_AND_SITE
#define PTX(device, emulated) device
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define PTX_SM90(device, emulated) device
#else
#define PTX_SM90(device, emulated) __trap()
#endif
#else
#define PTX_FN inline
#define PTX_SITE emulator::Site site = emulator::Site::here()
#define PTX_AND_SITE , PTX_SITE
#define PTX(device, emulated) emulated
#define PTX_SM90(device, emulated) emulated
#endif
#if defined(__CUDACC__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define PTX_SM90A(device, emulated) __trap()
#else
#define PTX_SM90A(device, emulated) PTX(device, emulated)
#endif

namespace lowrank {

#ifdef __CUDACC__
using TensorMap = CUtensorMap;
#else
using TensorMap = emulator::TensorMap;
#endif

namespace ptx {

// ---- addresses, copies

// cvta.to.shared: the shared address of a generic pointer.
PTX_FN uint32_t shared_address(const void* p) {
  return PTX(uint32_t(__cvta_generic_to_shared(p)), emulator::shared_address(p));
}
// cp.async.ca of 4 or 8 bytes, cp.async.cg of 16: `valid` bytes from global memory, zeros after them.
template <int Bytes>
PTX_FN void cp_async(uint32_t to, const void* from, int valid = Bytes PTX_AND_SITE) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  if constexpr (Bytes == 16) {
    PTX(asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid)
                     : "memory"),
        emulator::cp_async(to, from, 16, valid, site));
  } else {
    PTX(asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(Bytes), "r"(valid)
                     : "memory"),
        emulator::cp_async(to, from, Bytes, valid, site));
  }
}
// cp.async.commit_group
PTX_FN void cp_async_commit() { PTX(asm volatile("cp.async.commit_group;" ::: "memory"), emulator::cp_async_commit()); }
// cp.async.wait_group: at most `Pending` of this thread's newest groups are still in flight.
template <int Pending>
PTX_FN void cp_async_wait() {
  PTX(asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory"), emulator::cp_async_wait(Pending));
}

// ---- fences

// fence.proxy.async: generic writes to shared memory become visible to TMA and wgmma.
PTX_FN void fence_proxy_async() {
  PTX_SM90(asm volatile("fence.proxy.async.shared::cta;" ::: "memory"), emulator::fence_proxy_async());
}
// fence.mbarrier_init: after mbarrier_init, before other threads, blocks or TMA use it.
PTX_FN void fence_mbarrier_init() {
  PTX_SM90(asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"), emulator::fence_mbarrier_init());
}
// ---- barriers

// bar.sync / bar.arrive: `Threads` threads meet; who arrives does not wait. Id 0 is __syncthreads.
template <int Id, int Threads>
PTX_FN void barrier_sync(PTX_SITE) {
  static_assert(Id > 0 && Id < 16 && Threads % 32 == 0);
  PTX(asm volatile("bar.sync %0, %1;" ::"n"(Id), "n"(Threads)
                   : "memory"),
      emulator::barrier_sync(Id, Threads, true, site));
}
template <int Id, int Threads>
PTX_FN void barrier_arrive(PTX_SITE) {
  static_assert(Id > 0 && Id < 16 && Threads % 32 == 0);
  PTX(asm volatile("bar.arrive %0, %1;" ::"n"(Id), "n"(Threads)
                   : "memory"),
      emulator::barrier_sync(Id, Threads, false, site));
}
// mbarrier.init: a phase is complete after `count` arrivals and all expected bytes. 8 bytes, 8-aligned.
PTX_FN void mbarrier_init(uint32_t at, uint32_t count PTX_AND_SITE) {
  PTX(asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(at), "r"(count)
                   : "memory"),
      emulator::mbarrier_init(at, count, site));
}
// mbarrier.arrive
PTX_FN void mbarrier_arrive(uint32_t at, uint32_t count = 1 PTX_AND_SITE) {
  PTX_SM90(asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(count)
                        : "memory"),
           emulator::mbarrier_arrive(at, count, 0, site));
}
// mbarrier.arrive at an address of map_shared().
PTX_FN void mbarrier_arrive_remote(uint32_t at, uint32_t count = 1 PTX_AND_SITE) {
  PTX_SM90(asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0], %1;" ::"r"(at), "r"(count)
                        : "memory"),
           emulator::mbarrier_arrive(at, count, 0, site));
}
// mbarrier.expect_tx, and with an arrival.
PTX_FN void mbarrier_expect(uint32_t at, uint32_t bytes PTX_AND_SITE) {
  PTX_SM90(asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(bytes)
                        : "memory"),
           emulator::mbarrier_arrive(at, 0, bytes, site));
}
PTX_FN void mbarrier_arrive_expect(uint32_t at, uint32_t bytes PTX_AND_SITE) {
  PTX_SM90(asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes)
                        : "memory"),
           emulator::mbarrier_arrive(at, 1, bytes, site));
}
// mbarrier.try_wait.parity: whether the phase of this parity is complete; may give up early.
PTX_FN bool mbarrier_try_wait(uint32_t at, uint32_t parity PTX_AND_SITE) {
  uint32_t done = 0;
  PTX_SM90(asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                        "selp.u32 %0, 1, 0, p;\n}"
                        : "=r"(done)
                        : "r"(at), "r"(parity)
                        : "memory"),
           done = emulator::mbarrier_try_wait(at, parity, site));
  return done != 0;
}
PTX_FN void mbarrier_wait(uint32_t at, uint32_t parity PTX_AND_SITE) {
  PTX(while (!mbarrier_try_wait(at, parity)) continue, emulator::mbarrier_wait(at, parity, site));
}

// ---- clusters

// %cluster_ctarank
PTX_FN uint32_t cluster_rank() {
  uint32_t rank = 0;
  PTX_SM90(asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank)), rank = emulator::cluster_rank());
  return rank;
}
// barrier.cluster.arrive and .wait: all threads of all blocks of the cluster.
PTX_FN void cluster_arrive(PTX_SITE) {
  PTX_SM90(asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"), emulator::cluster_arrive(site));
}
PTX_FN void cluster_wait(PTX_SITE) {
  PTX_SM90(asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"), emulator::cluster_wait(site));
}
PTX_FN void cluster_sync(PTX_SITE) {
  PTX((ptx::cluster_arrive(), ptx::cluster_wait()), (ptx::cluster_arrive(site), ptx::cluster_wait(site)));
}
// mapa: the same place in the shared memory of the block of that rank: an address, or a pointer to read and write.
PTX_FN uint32_t map_shared(uint32_t at, uint32_t rank PTX_AND_SITE) {
  uint32_t mapped = 0;
  PTX_SM90(asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
                        : "=r"(mapped)
                        : "r"(at), "r"(rank)),
           mapped = emulator::map_shared(at, rank, site));
  return mapped;
}
template <typename T>
PTX_FN T* map_pointer(T* at, uint32_t rank PTX_AND_SITE) {
  uint64_t mapped = 0;
  PTX_SM90(asm volatile("mapa.u64 %0, %1, %2;"
                        : "=l"(mapped)
                        : "l"(at), "r"(rank)),
           mapped = reinterpret_cast<uint64_t>(emulator::map_shared(static_cast<const void*>(at), rank, site)));
  return reinterpret_cast<T*>(mapped);
}

// ---- TMA: boxes of a tensor map (cuda/tensor_map.cuh), whose coordinates begin with the innermost. Outside the tensor
// loads give zeros and stores do nothing. With a swizzle of S bytes, the box begins at a multiple of 8 S.

#define PTX_TMA_OPERANDS                                                                                               \
  ::"r"(shared), "l"(map), "r"(uint32_t(barrier)), "h"(ranks), "r"(c0), "r"(c1), "r"(c2) : "memory"
#define PTX_TMA_LOAD(dim, at)                                                                                          \
  asm volatile("cp.async.bulk.tensor." dim                                                                             \
               ".shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "                                      \
               "[%1, {" at "}], [%2];" PTX_TMA_OPERANDS)
#define PTX_TMA_MULTICAST(dim, at)                                                                                     \
  asm volatile("cp.async.bulk.tensor." dim                                                                             \
               ".shared::cluster.global.tile.mbarrier::complete_tx::bytes"                                             \
               ".multicast::cluster [%0], [%1, {" at "}], [%2], %3;" PTX_TMA_OPERANDS)
#define PTX_TMA_STORE(dim, at)                                                                                         \
  asm volatile("cp.async.bulk.tensor." dim ".global.shared::cta.tile.bulk_group [%1, {" at                             \
               "}], "                                                                                                  \
               "[%0];" PTX_TMA_OPERANDS)
#define PTX_TMA(instruction)                                                                                           \
  if constexpr (Rank == 1) instruction("1d", "%4");                                                                    \
  else if constexpr (Rank == 2) instruction("2d", "%4, %5");                                                           \
  else instruction("3d", "%4, %5, %6")

// cp.async.bulk.tensor, global to shared; the barrier's phase owes the bytes of the whole box.
template <int Rank>
PTX_FN void tma_load(uint32_t shared, const TensorMap* map, uint32_t barrier, int c0, int c1 = 0,
                     int c2 = 0 PTX_AND_SITE) {
  [[maybe_unused]] constexpr uint16_t ranks = 0;
  PTX_SM90(PTX_TMA(PTX_TMA_LOAD), emulator::tma_load(shared, map, {Rank, {c0, c1, c2}}, barrier, 0, site));
}
// The same box to the same place in every block of the bit mask `ranks`, each with its own barrier; sm_90a.
template <int Rank>
PTX_FN void tma_load_multicast(uint32_t shared, const TensorMap* map, uint32_t barrier, uint16_t ranks, int c0,
                               int c1 = 0, int c2 = 0 PTX_AND_SITE) {
  PTX_SM90A(PTX_TMA(PTX_TMA_MULTICAST), emulator::tma_load(shared, map, {Rank, {c0, c1, c2}}, barrier, ranks, site));
}
// cp.async.bulk.tensor, shared to global, after fence_proxy_async.
template <int Rank>
PTX_FN void tma_store(const TensorMap* map, uint32_t shared, int c0, int c1 = 0, int c2 = 0 PTX_AND_SITE) {
  [[maybe_unused]] constexpr uint16_t ranks = 0, barrier = 0;
  PTX_SM90(PTX_TMA(PTX_TMA_STORE), emulator::tma_store(map, {Rank, {c0, c1, c2}}, shared, site));
}
// cp.async.bulk.commit_group; .wait_group: the newest `Pending` groups may not have been written yet; with .read, they
// may still be read from shared memory.
PTX_FN void tma_commit() { PTX_SM90(asm volatile("cp.async.bulk.commit_group;" ::: "memory"), emulator::tma_commit()); }
template <int Pending>
PTX_FN void tma_wait() {
  PTX_SM90(asm volatile("cp.async.bulk.wait_group %0;" ::"n"(Pending) : "memory"), emulator::tma_wait(Pending));
}
template <int Pending>
PTX_FN void tma_wait_read() {
  PTX_SM90(asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(Pending) : "memory"), emulator::tma_wait(Pending));
}

// ---- warps (shuffles and votes: cuda/warp.cuh)
// elect.sync: true in one lane of the warp, always the same.
PTX_FN bool elect_one(PTX_SITE) {
  uint32_t elected = 0;
  PTX_SM90(asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.u32 %0, 1, 0, p;\n}"
                        : "=r"(elected)),
           elected = emulator::elect_one(site));
  return elected != 0;
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
// ex2.approx.ftz, rsqrt.approx.ftz: relative error about 2^-22.
PTX_FN float exp2_approx(float x) {
  float y = 0;
  PTX(asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)), y = exp2f(x));
  return y;
}
PTX_FN float rsqrt_approx(float x) {
  float y = 0;
  PTX(asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)), y = 1 / sqrtf(x));
  return y;
}
// cvt.rna.tf32: to 10 bits of mantissa, ties away from zero.
PTX_FN uint32_t to_tf32(float x) {
  uint32_t bits = 0;
  PTX(asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x)), bits = (__float_as_uint(x) + 0x1000) & 0xffffe000);
  return bits;
}

// ---- matrices in registers

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
template <typename T>
constexpr bool is_tensor_core_type = std::is_same_v<T, __half> || std::is_same_v<T, __nv_bfloat16>;

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

// ---- wgmma

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

}  // namespace ptx
}  // namespace lowrank
