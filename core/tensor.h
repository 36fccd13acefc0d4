#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ostream>

#include "core/error.h"

namespace lowrank {

struct Device;

// F32, F64, BF16 and I32 have kernels; F16, U8 and I64 are storage that `copy` converts. I8 and NF4 are quantised
// weights (core/quantized.h): matrices whose parts lie in one buffer.
enum class DType : uint8_t { F32, F64, BF16, I32, F16, U8, I64, I8, NF4 };

inline bool is_quantized(DType dtype) { return dtype == DType::I8 || dtype == DType::NF4; }
// Of one element; 0 where only the shape of the whole tells.
size_t bytes_of(DType dtype);
const char* name_of(DType dtype);

constexpr int MAX_RANK = 4;

struct Shape {
  Shape() = default;
  Shape(std::initializer_list<int64_t> list);

  int64_t size() const;
  // Throws ERR_SHAPE where a dimension is negative or that many elements of `dtype` are more than any memory, or where
  // a quantised weight would be no matrix. Zeros count as 1, so that no product of dimensions overflows.
  void check_fits(const char* op, DType dtype) const;
  int64_t operator[](int i) const { return dims[i]; }
  int64_t back() const { return rank ? dims[rank - 1] : 1; }
  bool operator==(const Shape& other) const;
  bool operator!=(const Shape& other) const { return !(*this == other); }

  int32_t rank = 0;
  int64_t dims[MAX_RANK] = {};
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);

size_t bytes_of(DType dtype, const Shape& shape);

// Device memory. Returned to the device's pool with the last tensor that points into it.
struct Buffer {
  Buffer(Device& device, size_t bytes);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  Device& device;
  const size_t bytes;
  void* data = nullptr;  // null on the meta device
};

// What queued work holds: a raw, trivially copyable look at a tensor, never an owner. A null `data` is an absent
// optional input or a gradient that nobody wants.
struct View {
  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= dims[i];
    return n;
  }
  int64_t cols() const { return rank ? dims[rank - 1] : 1; }
  int64_t rows() const { return cols() ? size() / cols() : 0; }
  explicit operator bool() const { return data != nullptr; }

  void* data = nullptr;
  DType dtype = DType::F32;
  int32_t rank = 0;
  int64_t dims[MAX_RANK] = {};
};

// A shape over a buffer. Always contiguous: layouts change in ops, never in strides.
struct Tensor {
  static Tensor empty(Device& device, Shape shape, DType dtype);

  bool defined() const { return buffer != nullptr; }
  Device& device() const { return buffer->device; }
  int64_t size() const { return shape.size(); }
  int64_t cols() const { return shape.back(); }
  int64_t rows() const { return cols() ? size() / cols() : 0; }
  size_t bytes() const { return bytes_of(dtype, shape); }
  View view() const;

  std::shared_ptr<Buffer> buffer;
  size_t offset = 0;  // bytes
  Shape shape;
  DType dtype = DType::F32;
};

}  // namespace lowrank
