#pragma once
// What the instructions of this folder share. Each function has two bodies, chosen by the compiler: PTX under nvcc, a
// call of the emulator (test/emulator/) where kernels run on the CPU. Instructions of Hopper compile for every
// architecture and trap below sm_90; kernels are chosen on the host.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#ifdef __CUDACC__
#include <cuda.h>
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define PTX_GENERATION 909
#elif defined(__CUDA_ARCH__)
#define PTX_GENERATION (__CUDA_ARCH__ / 10)
#else
#define PTX_GENERATION 0
#endif
#define PTX_FN __device__ __forceinline__
#define PTX_SITE
#define PTX_AND_SITE
#define PTX(device, emulated) device
#if PTX_GENERATION >= 90
#define PTX_SM90(device, emulated) device
#else
#define PTX_SM90(device, emulated) __trap()
#endif
#if PTX_GENERATION == 909
#define PTX_SM90A(device, emulated) device
#else
#define PTX_SM90A(device, emulated) __trap()
#endif
#else
#define PTX_FN inline
#define PTX_SITE emulator::Site site = emulator::Site::here()
#define PTX_AND_SITE , PTX_SITE
#define PTX_GENERATION emulator::options().generation
#define PTX(device, emulated) emulated
#define PTX_SM90(device, emulated) (emulator::need_generation(90), emulated)
#define PTX_SM90A(device, emulated) (emulator::need_generation(909), emulated)
#endif

namespace lowrank {

#ifdef __CUDACC__
using TensorMap = CUtensorMap;
#else
using TensorMap = emulator::TensorMap;
#endif

namespace ptx {

// What the code that runs was compiled for: 10 * major + minor, or 909 for sm_90a, whose instructions no other has.
PTX_FN int generation() { return PTX_GENERATION; }

// cvta.to.shared: the shared address of a generic pointer.
PTX_FN uint32_t shared_address(const void* p) {
  return PTX(uint32_t(__cvta_generic_to_shared(p)), emulator::shared_address(p));
}

template <typename T>
constexpr bool is_tensor_core_type = std::is_same_v<T, __half> || std::is_same_v<T, __nv_bfloat16>;

}  // namespace ptx
}  // namespace lowrank
