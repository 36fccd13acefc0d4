#pragma once
// Element types. Without the standard library: the vector code of the CPU includes this.
#include <stdint.h>

namespace lowrank {

// F32, F64, BF16 and I32 have kernels, on CUDA F16 too; the rest is storage that `copy` converts. I8 and NF4: quantised
// weights (core/quantized.h): matrices whose parts lie in one buffer. From Q4_0 on: blocks of GGUF files
// (core/blocks.h).
enum class DType : uint8_t {
  F32,
  F64,
  BF16,
  I32,
  F16,
  U8,
  I64,
  I8,
  NF4,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q8_0,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K
};

inline bool is_blocks(DType dtype) { return dtype >= DType::Q4_0; }
inline bool is_quantized(DType dtype) { return dtype == DType::I8 || dtype == DType::NF4 || is_blocks(dtype); }

}  // namespace lowrank
