#pragma once
// Tensor maps for TMA, made on the host and passed to kernels as `const __grid_constant__ TensorMap`.
#include <algorithm>
#include <initializer_list>

#include "core/error.h"
#include "cuda/ptx.cuh"
#include "cuda/scratch.h"
#include "cuda/tensor_map_cache.h"

namespace lowrank::cuda {

// What a map describes: `data` with dims, the innermost first; strides in bytes of all but the innermost; the box of a
// transfer; swizzle: 0, 32, 64 or 128 bytes. T: float, __nv_bfloat16, __half, int32_t, uint8_t.
struct TensorBox {
  std::initializer_list<uint64_t> dims, strides;
  std::initializer_list<uint32_t> box;
  int swizzle = 0;
};

inline void check_box(const TensorBox& box) {
  const size_t rank = box.dims.size();
  check(rank >= 1 && rank <= 3 && box.strides.size() + 1 == rank && box.box.size() == rank, Code::Shape,
        "tensor map: ", rank, " dims, ", box.strides.size(), " strides, a box of ", box.box.size(), "; 1 to 3 dims");
}

inline TensorMapCache<TensorMap>& tensor_maps() {
  thread_local TensorMapCache<TensorMap> cache;
  return cache;
}

#ifdef __CUDACC__

template <typename T>
constexpr CUtensorMapDataType tensor_map_type() {
  if constexpr (std::is_same_v<T, float>) return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
  else if constexpr (std::is_same_v<T, __nv_bfloat16>) return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  else if constexpr (std::is_same_v<T, __half>) return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  else if constexpr (std::is_same_v<T, int32_t>) return CU_TENSOR_MAP_DATA_TYPE_INT32;
  else return CU_TENSOR_MAP_DATA_TYPE_UINT8;
}

// Found at run time, so that a machine without a driver can load this program.
inline decltype(&cuTensorMapEncodeTiled) tensor_map_encoder() {
  static const auto encoder = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found;
#if CUDART_VERSION >= 12050
    cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
#else
    cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &found);
#endif
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  }();
  check(encoder != nullptr, Code::Unsupported, "the NVIDIA driver has no tensor maps; update it");
  return encoder;
}

template <typename T>
TensorMap make_tensor_map(const T* data, const TensorBox& box) {
  constexpr cuuint32_t ones[3] = {1, 1, 1};
  const auto swizzle = box.swizzle == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                       : box.swizzle == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                       : box.swizzle == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                           : CU_TENSOR_MAP_SWIZZLE_NONE;
  cuuint64_t strides[3] = {};
  int i = 0;
  for (const uint64_t stride : box.strides) strides[i++] = stride;
  TensorMap map;
  const CUresult result = tensor_map_encoder()(
      &map, tensor_map_type<T>(), cuuint32_t(box.dims.size()), const_cast<T*>(data),
      reinterpret_cast<const cuuint64_t*>(box.dims.begin()), strides, box.box.begin(), ones,
      CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check(result == CUDA_SUCCESS, Code::Cuda, "cuTensorMapEncodeTiled: error ", int(result));
  return map;
}

template <typename T>
constexpr int32_t map_type() {
  return int32_t(tensor_map_type<T>());
}
inline void look_at(const TensorMap&) {}

#else

template <typename T>
constexpr int32_t map_type() {
  return int32_t(sizeof(T));
}
// Also of one made earlier: the emulator knows what lies there now.
inline void look_at(const TensorMap& map) { emulator::check_tensor_map(map); }

template <typename T>
TensorMap make_tensor_map(const T* data, const TensorBox& box) {
  TensorMap map;
  map.base = reinterpret_cast<char*>(const_cast<T*>(data));
  map.rank = int(box.dims.size());
  map.element = sizeof(T);
  map.swizzle = uint32_t(box.swizzle);
  map.strides[0] = sizeof(T);
  int i = 0;
  for (const uint64_t dim : box.dims) map.dims[i++] = dim;
  i = 1;
  for (const uint64_t stride : box.strides) map.strides[i++] = stride;
  i = 0;
  for (const uint32_t extent : box.box) map.box[i++] = extent;
  return map;
}

#endif

template <typename T>
TensorMap tensor_map(const T* data, const TensorBox& box) {
  check_box(box);
  if (is_measuring()) return {};
  TensorMapKey key;
  key.data = data;
  key.type = map_type<T>(), key.swizzle = box.swizzle, key.rank = int32_t(box.dims.size());
  std::copy(box.dims.begin(), box.dims.end(), key.dims);
  std::copy(box.strides.begin(), box.strides.end(), key.strides);
  std::copy(box.box.begin(), box.box.end(), key.box);
  const TensorMap map = tensor_maps().of(key, [&] { return make_tensor_map(data, box); });
  look_at(map);
  return map;
}

}  // namespace lowrank::cuda
