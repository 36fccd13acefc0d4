#include <type_traits>

#include "core/kernels.h"
#include "cpu/pieces.h"

namespace lowrank {
namespace {

using namespace cpu;

template <typename To, typename From>
void convert(const View& y, const View& x) {
  for_pieces(y.size(), PIECE_ELEMENTS, [&](int64_t begin, int64_t end, int64_t) {
    To* to = y.as<To>();
    const From* from = x.as<From>();
    if constexpr (std::is_same_v<To, From>) {
      std::memcpy(to + begin, from + begin, size_t(end - begin) * sizeof(To));
    } else {
      for (int64_t i = begin; i < end; ++i) to[i] = Convert<To>::from(from[i]);
    }
  });
}

// Integers are copied as they are, or become f32.
template <typename From>
void convert_integer(const View& y, const View& x) {
  if (y.dtype == x.dtype) return convert<From, From>(y, x);
  if (y.dtype == DType::F32) return convert<float, From>(y, x);
  throw Error(Code::DType, std::string("copy: no conversion from ") + name_of(x.dtype) + " to " + name_of(y.dtype));
}

}  // namespace

void cpu::copy(View y, View x) {
  switch (x.dtype) {
    case DType::I32: return convert_integer<int32_t>(y, x);
    case DType::I64: return convert_integer<int64_t>(y, x);
    case DType::U8: return convert_integer<uint8_t>(y, x);
    default: break;
  }
  dispatch_float(y,
                 [&](auto to) { dispatch_float(x, [&](auto from) { convert<decltype(to), decltype(from)>(y, x); }); });
}

}  // namespace lowrank
