#pragma once
// Element types, shapes, and what kernels see of a tensor.
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "core/dtype.h"
#include "core/error.h"

namespace lowrank {

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

void append(std::string& message, const Shape& shape);  // [2, 3]

size_t bytes_of(DType dtype, const Shape& shape);

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
  // `count` of the first dimension, from `begin` on; not of quantised weights. Nothing stays nothing.
  View part(int64_t begin, int64_t count) const {
    View own = *this;
    if (data) own.data = as<char>() + size_t(begin * (dims[0] ? size() / dims[0] : 0)) * bytes_of(dtype);
    own.dims[0] = count;
    return own;
  }

  void* data = nullptr;
  DType dtype = DType::F32;
  int32_t rank = 0;
  int64_t dims[MAX_RANK] = {};
};

}  // namespace lowrank
