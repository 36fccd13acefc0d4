#pragma once
#include "core/view.h"

namespace lowrank::cpu {

// Calls f with a value of the type that x is computed in, its own or f32 of bf16 (cpu/half.h):
// dispatch(x, [&](auto zero) { using T = decltype(zero); … }).
template <typename F>
void dispatch(const View& x, F&& f) {
  switch (x.dtype) {
    case DType::F32:
    case DType::BF16: return f(float{});
    case DType::F64: return f(double{});
    default: throw Error(Code::DType, std::string("no CPU kernel for ") + name_of(x.dtype));
  }
}

}  // namespace lowrank::cpu
