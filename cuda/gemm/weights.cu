// Conversion of a product's operands between f32, bf16 and f16.
//
// 8 elements a thread, in lines that begin at multiples of 8; no reuse. One pass; what is read once from memory is
// written to scratch that a weight of training size leaves in L2. Bound by bandwidth: the target is
// (bytes of the source + bytes of the copy) / peak.

#include "cuda/gemm/weights.cuh"

namespace lowrank::cuda::gemm {
namespace {

constexpr int THREADS = 256, LANES = 8;

template <typename To, typename From, bool Wide>
__global__ void convert(To* to, const From* from, int64_t rows, int64_t columns) {
  const int64_t packs = (columns + LANES - 1) / LANES, i = int64_t(blockIdx.x) * THREADS + threadIdx.x;
  if (i >= rows * packs) return;
  const int64_t column = i % packs * LANES;
  from += i / packs * columns + column;
  Pack<To, LANES> out;
  if constexpr (Wide) {
    constexpr int N = PACK<From> < LANES ? PACK<From> : LANES;
    for (int part = 0; part < LANES; part += N) {
      const auto pack = load<N>(from + part);
      for (int k = 0; k < N; ++k) out.lane[part + k] = To(float(pack.lane[k]));
    }
  } else {
    for (int k = 0; k < LANES; ++k) out.lane[k] = To(column + k < columns ? float(from[k]) : 0.0f);
  }
  constexpr int N = PACK<To> < LANES ? PACK<To> : LANES;
  for (int part = 0; part < LANES; part += N) {
    Pack<To, N> pack;
    for (int k = 0; k < N; ++k) pack.lane[k] = out.lane[part + k];
    store(to + i * LANES + part, pack);
  }
}

template <typename To, typename From>
void launch_convert(void* to, const View& x) {
  const int64_t rows = x.dims[0], columns = x.dims[1], blocks = ceil_div(rows * ceil_div(columns, LANES), THREADS);
  const bool wide = aligned(x) && columns % LANES == 0;
  launch(wide ? convert<To, From, true> : convert<To, From, false>, blocks, THREADS, static_cast<To*>(to), x.as<From>(),
         rows, columns);
}

template <typename To>
void convert_to(void* to, const View& x) {
  switch (x.dtype) {
    case DType::F32: return launch_convert<To, float>(to, x);
    case DType::BF16: return launch_convert<To, __nv_bfloat16>(to, x);
    case DType::F16: return launch_convert<To, __half>(to, x);
    default: throw Error(Code::DType, std::string("product: no operand of ") + name_of(x.dtype));
  }
}

// Lines of the weight as they are: its blocks run across them.
Operand dequantized(const View& w, DType type, bool along_k, Scratch& space) {
  View floats = w;
  floats.dtype = type;
  floats.data = space.take_bytes(size_t(w.size()) * bytes_of(type));
  dequantize(floats, w);
  return {floats.data, w.dims[1], along_k};
}

}  // namespace

Operand operand_in(const View& x, DType type, bool along_k, Scratch& space) {
  const int64_t rows = x.dims[0], columns = x.dims[1];
  if (x.dtype == type) return {x.data, columns, along_k};
  if (is_quantized(x.dtype)) return dequantized(x, type, along_k, space);
  const int64_t leading = ceil_div(columns, LANES) * LANES;
  void* to = space.take_bytes(size_t(rows * leading) * bytes_of(type));
  if (type == DType::F32) convert_to<float>(to, x);
  else if (type == DType::F16) convert_to<__half>(to, x);
  else convert_to<__nv_bfloat16>(to, x);
  return {to, leading, along_k};
}

}  // namespace lowrank::cuda::gemm
