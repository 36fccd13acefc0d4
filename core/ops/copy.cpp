#include "core/ops/checks.h"

namespace lowrank::ops {
namespace {

bool is_integer(DType dtype) { return dtype == DType::I32 || dtype == DType::I64 || dtype == DType::U8; }

// Floats of any width convert to each other; integers stay what they are or become f32.
void check_conversion(const char* op, DType to, DType from) {
  const bool known = to == from || (is_integer(from) ? to == DType::F32 : !is_integer(to));
  check(known, Code::DType, op, ": no conversion from ", name_of(from), " to ", name_of(to),
        is_integer(from) ? "; cast to f32 first" : "");
}

bool overlap(const Tensor& a, const Tensor& b) {
  return a.buffer == b.buffer && a.offset < b.offset + b.bytes() && b.offset < a.offset + a.bytes();
}

}  // namespace

void copy_into(const Tensor& y, const Tensor& x) {
  check_same_device("copyInto", y, x);
  check(y.size() == x.size(), Code::Shape, "copyInto: ", x.shape, " does not fill ", y.shape);
  check_conversion("copyInto", y.dtype, x.dtype);
  check(!overlap(y, x), Code::Option, "copyInto: x and y share memory; copy through a third tensor");
  run(y.device(), "copyInto", y.device().kernels.copy, y.view(), x.view());
}

Tensor cast(const Tensor& x, DType dtype) {
  check_conversion("cast", dtype, x.dtype);
  auto y = Tensor::empty(x.device(), x.shape, dtype);
  run(x.device(), "cast", x.device().kernels.copy, y.view(), x.view());
  return y;
}

void fill(const Tensor& y, double value) {
  if (is_integer(y.dtype)) {
    const double low = y.dtype == DType::U8 ? 0 : y.dtype == DType::I32 ? -0x1p31 : -0x1p53;
    const double high = y.dtype == DType::U8 ? 255 : y.dtype == DType::I32 ? 0x1p31 - 1 : 0x1p53;
    check(value >= low && value <= high && value == std::floor(value), Code::Option, "fill: ", value, " is no ",
          name_of(y.dtype));
  }
  run(y.device(), "fill", y.device().kernels.fill, y.view(), value);
}

}  // namespace lowrank::ops
