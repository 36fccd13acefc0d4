#include "core/ops/checks.h"

namespace lowrank::ops {

Tensor quantize(const Tensor& x, DType dtype) {
  check_matrix("quantize", "x", x);
  check_dtype("quantize", "x", x, DType::F32);
  check(dtype == DType::I8 || dtype == DType::NF4, Code::DType, "quantize: to ", name_of(dtype),
        ", expected int8 or nf4");
  auto w = Tensor::empty(x.device(), x.shape, dtype);
  run(x.device(), "quantize", x.device().kernels.quantize, w.view(), x.view());
  return w;
}

Tensor dequantize(const Tensor& w, DType dtype) {
  check(is_quantized(w.dtype), Code::DType, "dequantize: w is ", name_of(w.dtype), ", expected a quantised weight");
  check(dtype == DType::F32 || dtype == DType::F64 || is_half(dtype), Code::DType, "dequantize: to ", name_of(dtype),
        ", expected f32, f64, bf16 or f16");
  auto y = Tensor::empty(w.device(), w.shape, dtype);
  run(w.device(), "dequantize", w.device().kernels.dequantize, y.view(), w.view());
  return y;
}

}  // namespace lowrank::ops
