#include "core/ops/checks.h"

namespace lowrank::ops {
namespace {

bool is_integer(DType dtype) { return dtype == DType::I32 || dtype == DType::I64 || dtype == DType::U8; }

// Floats of any width and quantised weights convert to each other; integers stay what they are or become f32.
void check_conversion(const char* op, DType to, DType from) {
  const bool known = to == from || (is_integer(from) ? to == DType::F32 : !is_integer(to) && !is_blocks(to));
  check(known, Code::DType, op, ": no conversion from ", name_of(from), " to ", name_of(to),
        is_integer(from) ? "; cast to f32 first" : "");
}

bool overlap(const Tensor& a, const Tensor& b) {
  return a.buffer == b.buffer && a.offset < b.offset + b.bytes() && b.offset < a.offset + a.bytes();
}

View bytes_view(const Tensor& t) {
  View bytes = t.view();
  bytes.dtype = DType::U8, bytes.rank = 1, bytes.dims[0] = int64_t(t.bytes());
  return bytes;
}

// Hands over the kernel that converts x into y's memory.
void convert(const char* op, const Tensor& y, const Tensor& x) {
  Device& device = y.device();
  if (x.dtype == y.dtype && is_quantized(x.dtype)) {
    run(device, op, device.kernels.copy, bytes_view(y), bytes_view(x));
  } else if (is_quantized(x.dtype)) {
    const Tensor f32 = is_quantized(y.dtype) ? dequantize(x, DType::F32) : Tensor();
    if (f32.defined()) run(device, op, device.kernels.quantize, y.view(), f32.view());
    else run(device, op, device.kernels.dequantize, y.view(), x.view());
  } else if (is_quantized(y.dtype)) {
    const Tensor f32 = x.dtype == DType::F32 ? x : cast(x, DType::F32);
    run(device, op, device.kernels.quantize, y.view(), f32.view());
  } else {
    run(device, op, device.kernels.copy, y.view(), x.view());
  }
}

}  // namespace

void copy_into(const Tensor& y, const Tensor& x) {
  check_same_device("copyInto", y, x);
  check(y.size() == x.size(), Code::Shape, "copyInto: ", x.shape, " does not fill ", y.shape);
  check_conversion("copyInto", y.dtype, x.dtype);
  check(y.shape == x.shape || !(is_quantized(y.dtype) || is_quantized(x.dtype)), Code::Shape, "copyInto: ", x.shape,
        " as ", name_of(x.dtype), " into ", y.shape, " as ", name_of(y.dtype));
  check(!overlap(y, x), Code::Option, "copyInto: x and y share memory; copy through a third tensor");
  convert("copyInto", y, x);
}

Tensor cast(const Tensor& x, DType dtype) {
  check_conversion("cast", dtype, x.dtype);
  auto y = Tensor::empty(x.device(), x.shape, dtype);
  convert("cast", y, x);
  return y;
}

void fill(const Tensor& y, double value) {
  check(!is_quantized(y.dtype), Code::DType, "fill: a tensor of ", name_of(y.dtype),
        "; fill one of f32 and quantize it");
  if (is_integer(y.dtype)) {
    const double low = y.dtype == DType::U8 ? 0 : y.dtype == DType::I32 ? -0x1p31 : -0x1p53;
    const double high = y.dtype == DType::U8 ? 255 : y.dtype == DType::I32 ? 0x1p31 - 1 : 0x1p53;
    check(value >= low && value <= high && value == std::floor(value), Code::Option, "fill: ", value, " is no ",
          name_of(y.dtype));
  }
  run(y.device(), "fill", y.device().kernels.fill, y.view(), value);
}

}  // namespace lowrank::ops
