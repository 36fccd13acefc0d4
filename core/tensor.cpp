#include "core/tensor.h"

#include <algorithm>
#include <cstdio>

#include "core/blocks.h"
#include "core/device.h"
#include "core/quantized.h"

namespace lowrank {

const char* name_of(Code code) {
  switch (code) {
    case Code::Shape: return "ERR_SHAPE";
    case Code::DType: return "ERR_DTYPE";
    case Code::Device: return "ERR_DEVICE";
    case Code::Disposed: return "ERR_DISPOSED";
    case Code::Memory: return "ERR_MEMORY";
    case Code::Cuda: return "ERR_CUDA";
    case Code::Unsupported: return "ERR_UNSUPPORTED";
    case Code::Option: return "ERR_OPTION";
  }
  return "ERR_UNSUPPORTED";
}

size_t bytes_of(DType dtype) {
  switch (dtype) {
    case DType::F64:
    case DType::I64: return 8;
    case DType::F32:
    case DType::I32: return 4;
    case DType::BF16:
    case DType::F16: return 2;
    case DType::U8: return 1;
    default: return 0;
  }
}

size_t bytes_of(DType dtype, const Shape& shape) {
  if (is_blocks(dtype)) {
    const BlockFormat format = block_format(dtype);
    return size_t(shape.size() / format.elements * format.bytes);
  }
  if (is_quantized(dtype)) return quantized_layout(dtype, shape[0], shape[1]).bytes;
  return size_t(shape.size()) * bytes_of(dtype);
}

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::F32: return "f32";
    case DType::F64: return "f64";
    case DType::BF16: return "bf16";
    case DType::I32: return "i32";
    case DType::F16: return "f16";
    case DType::U8: return "u8";
    case DType::I64: return "i64";
    case DType::I8: return "int8";
    case DType::NF4: return "nf4";
    case DType::Q4_0: return "q4_0";
    case DType::Q4_1: return "q4_1";
    case DType::Q5_0: return "q5_0";
    case DType::Q5_1: return "q5_1";
    case DType::Q8_0: return "q8_0";
    case DType::Q2_K: return "q2_k";
    case DType::Q3_K: return "q3_k";
    case DType::Q4_K: return "q4_k";
    case DType::Q5_K: return "q5_k";
    case DType::Q6_K: return "q6_k";
  }
  return "?";
}

Shape::Shape(std::initializer_list<int64_t> list) : rank(int32_t(list.size())) {
  check(list.size() <= MAX_RANK, Code::Shape, "shape: rank ", list.size(), " is more than ", MAX_RANK);
  int i = 0;
  for (const int64_t d : list) dims[i++] = d;
}

int64_t Shape::size() const {
  int64_t n = 1;
  for (int i = 0; i < rank; ++i) n *= dims[i];
  return n;
}

void Shape::check_fits(const char* op, DType dtype) const {
  constexpr int64_t MOST = int64_t(1) << 52;  // bytes
  check(!is_quantized(dtype) || rank == 2, Code::Shape, op, ": ", *this, " as ", name_of(dtype),
        ", expected two dimensions");
  check(!is_blocks(dtype) || dims[1] % block_format(dtype).elements == 0, Code::Shape, op, ": rows of ", dims[1],
        " elements as ", name_of(dtype), ", expected a multiple of ", block_format(dtype).elements);
  int64_t n = std::max<int64_t>(1, int64_t(bytes_of(dtype)));
  for (int i = 0; i < rank; ++i) {
    check(dims[i] >= 0, Code::Shape, op, ": dimension ", dims[i], " in ", *this, ", expected 0 or more");
    const bool overflow = __builtin_mul_overflow(n, dims[i] ? dims[i] : 1, &n);
    check(!overflow && n <= MOST, Code::Shape, op, ": shape ", *this, " of ", name_of(dtype), " is more than ", MOST,
          " bytes");
  }
}

bool Shape::operator==(const Shape& other) const {
  if (rank != other.rank) return false;
  for (int i = 0; i < rank; ++i)
    if (dims[i] != other.dims[i]) return false;
  return true;
}

void append(std::string& message, const Shape& shape) {
  message += '[';
  for (int i = 0; i < shape.rank; ++i) message += (i ? ", " : "") + std::to_string(shape.dims[i]);
  message += ']';
}

void append(std::string& message, double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", number);
  message += text;
}

Buffer::Buffer(Device& device, size_t bytes) : device(device), bytes(bytes), data(device.pool.allocate(bytes)) {}

Buffer::~Buffer() { device.pool.release(data, bytes); }

Tensor Tensor::empty(Device& device, Shape shape, DType dtype) {
  shape.check_fits("tensor", dtype);
  Tensor t;
  t.shape = shape;
  t.dtype = dtype;
  t.buffer = std::make_shared<Buffer>(device, t.bytes());
  return t;
}

View Tensor::view() const {
  View v;
  if (!buffer) return v;
  v.data = static_cast<char*>(buffer->data) + offset;
  v.dtype = dtype;
  v.rank = shape.rank;
  for (int i = 0; i < shape.rank; ++i) v.dims[i] = shape.dims[i];
  return v;
}

}  // namespace lowrank
