#pragma once
// What conformance cases share. A case runs one instruction of cuda/ptx/, or one function of CUDA, against
// a scalar definition, and throws where a result is wrong: on a GPU, for `lowrank doctor --kernels`, and on the
// emulator of the tests. It runs on the stream of the queue whose thread calls it.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cuda/conformance/cases.h"
#include "cuda/launch.cuh"
#include "cuda/ptx.cuh"
#include "cuda/tensor_map.cuh"

namespace lowrank::conformance {

// ptx::generation() of the conformance cases, on the current device; the stream is waited for.
int code_generation(cudaStream_t stream);

// Values on the device, NaN (or -1) until written; freed with the array.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t size) : size_(size) {
    cuda::check_cuda(cudaMalloc(&data_, size * sizeof(T)), "cudaMalloc");
    cuda::check_cuda(cudaMemsetAsync(data_, 0xff, size * sizeof(T), cuda::stream()), "cudaMemset");
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    copy(data_, values.data(), cudaMemcpyHostToDevice);
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> values(size_);
    copy(values.data(), data_, cudaMemcpyDeviceToHost);
    cuda::check_cuda(cudaStreamSynchronize(cuda::stream()), "cudaStreamSynchronize");
    return values;
  }

 private:
  void copy(void* to, const void* from, cudaMemcpyKind kind) const {
    cuda::check_cuda(cudaMemcpyAsync(to, from, size_ * sizeof(T), kind, cuda::stream()), "cudaMemcpy");
  }

  T* data_ = nullptr;
  size_t size_;
};

// Reproducible values in [-1, 1] that T holds exactly.
template <typename T>
std::vector<T> values(size_t n, unsigned seed) {
  std::vector<T> all(n);
  uint64_t state = seed * 2654435761u + 12345;
  for (T& x : all) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    x = T(float(int(state >> 40) % 256 - 128) / 128.0f);
  }
  return all;
}

template <typename T>
std::vector<T> iota(size_t n) {
  std::vector<T> all(n);
  for (size_t i = 0; i < n; ++i) all[i] = T(i);
  return all;
}

// Throws unless |got - expected| <= tolerance (1 + |expected|) everywhere.
template <typename T, typename E>
void expect_near(const std::string& what, const std::vector<T>& got, const std::vector<E>& expected,
                 double tolerance = 0) {
  check(got.size() == expected.size(), Code::Shape, what, ": ", got.size(), " values, expected ", expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const double x = double(got[i]), y = double(expected[i]);
    if (std::fabs(x - y) <= tolerance * (1 + std::fabs(y))) continue;
    throw std::runtime_error(what + ": at " + std::to_string(i) + " " + std::to_string(x) + ", expected " +
                             std::to_string(y));
  }
}

// y[m, n] = sum over k of a[m, k] b[n, k], in f64.
template <typename T>
std::vector<double> product(const std::vector<T>& a, const std::vector<T>& b, int m, int n, int k) {
  std::vector<double> y(size_t(m) * size_t(n));
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      double sum = 0;
      for (int l = 0; l < k; ++l) sum += double(float(a[size_t(i * k + l)])) * double(float(b[size_t(j * k + l)]));
      y[size_t(i * n + j)] = sum;
    }
  return y;
}

// Where a swizzle of `span` bytes puts byte `at` of line `line`: the 16-byte chunks of a line change places by the
// number of the 128 bytes that the line is in.
inline size_t swizzled_byte(size_t line, size_t at, size_t span) {
  if (span == 0) return at;
  const size_t lines = 128 / span, chunks = span / 16;
  return line * span + ((at / 16) ^ (line / lines % chunks)) * 16 + at % 16;
}

}  // namespace lowrank::conformance
