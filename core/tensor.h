#pragma once
#include <memory>

#include "core/view.h"

namespace lowrank {

struct Device;

// Device memory. Returned to the device's pool with the last tensor that points into it.
struct Buffer {
  Buffer(Device& device, size_t bytes);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  Device& device;
  const size_t bytes;
  void* data = nullptr;
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
