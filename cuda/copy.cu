// y = x, converted: floats of any width to each other, integers to f32; see elementwise.cuh. Of one type: the bytes,
// by the runtime's own copy.

#include "cuda/elementwise.cuh"

namespace lowrank {
namespace {

using namespace cuda;

// Rounding to the narrower type happens once, where the result is stored: from f64 too.
struct Same {
  template <typename A>
  __device__ A operator()(A x) const {
    return x;
  }
};

template <typename From>
void convert_integer(const View& y, const View& x) {
  check(y.dtype == DType::F32, Code::DType, "copy: no conversion from ", name_of(x.dtype), " to ", name_of(y.dtype));
  map<float, From>(Same{}, y, x);
}

template <typename From>
void convert_float(const View& y, const View& x) {
  dispatch(y, [&](auto zero) {
    using To = decltype(zero);
    if constexpr (!std::is_same_v<To, From>) map<To, From>(Same{}, y, x);
  });
}

}  // namespace

void cuda::copy(View y, View x) {
  if (x.size() == 0) return;
  if (y.dtype == x.dtype) {
    if (is_measuring()) return count_launch();
    const size_t bytes = size_t(x.size()) * bytes_of(x.dtype);
    return check_cuda(cudaMemcpyAsync(y.data, x.data, bytes, cudaMemcpyDeviceToDevice, stream()), "cudaMemcpyAsync");
  }
  switch (x.dtype) {
    case DType::I32: return convert_integer<int32_t>(y, x);
    case DType::I64: return convert_integer<int64_t>(y, x);
    case DType::U8: return convert_integer<uint8_t>(y, x);
    default: dispatch(x, [&](auto zero) { convert_float<decltype(zero)>(y, x); });
  }
}

}  // namespace lowrank
