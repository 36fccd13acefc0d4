#pragma once
// Frozen weights [out, in] in fewer bits. All parts of one lie in its buffer, each at a multiple of 16 bytes.
//
// I8, by rows, as the int8 weights of bitsandbytes:
//   codes i8[out, in], absmax f32[out];  w = code * absmax[row] / 127
// NF4, the 4-bit weights of bitsandbytes with double quantisation. Blocks of 64 run over the flattened weight:
//   codes: two elements a byte, the first in the high nibble; scales u8[blocks]; nested f32[blocks / 256]; offset f32
//   absmax of block b = DYNAMIC_MAP[scales[b]] * nested[b / 256] + offset;  w = NF4_MAP[code] * absmax
// Products and the sum are rounded to f32 one by one.

#include "core/quantized_maps.h"
#include "core/view.h"

namespace lowrank {

constexpr int64_t NF4_BLOCK = 64;    // elements of one scale
constexpr int64_t NF4_NESTED = 256;  // scales of one nested scale
constexpr float INT8_STEP = 1 / 127.0f;
constexpr float SMALLEST_ABSMAX = 1e-38f;       // where codes are chosen, smaller ones count as this: no 1 / 0
constexpr float SMALLEST_INT8_ABSMAX = 1e-36f;  // the same for 127 / absmax

// Where the parts begin, in bytes. I8: scales are the absmax; nested and offset are not there.
struct QuantizedLayout {
  size_t scales = 0, nested = 0, offset = 0, bytes = 0;
};

inline QuantizedLayout quantized_layout(DType dtype, int64_t out, int64_t in) {
  const auto after = [](size_t begin, int64_t bytes) { return (begin + size_t(bytes) + 15) / 16 * 16; };
  const int64_t n = out * in, blocks = (n + NF4_BLOCK - 1) / NF4_BLOCK;
  QuantizedLayout at;
  if (dtype == DType::I8) {
    at.scales = after(0, n);
    at.bytes = at.scales + size_t(out) * sizeof(float);
  } else {
    at.scales = after(0, (n + 1) / 2);
    at.nested = after(at.scales, blocks);
    at.offset = after(at.nested, (blocks + NF4_NESTED - 1) / NF4_NESTED * int64_t(sizeof(float)));
    at.bytes = at.offset + sizeof(float);
  }
  return at;
}

struct Int8Weight {
  explicit Int8Weight(const View& w)
      : codes(w.as<int8_t>()),
        absmax(reinterpret_cast<float*>(w.as<char>() + quantized_layout(DType::I8, w.dims[0], w.dims[1]).scales)) {}
  int8_t* codes;
  float* absmax;
};

struct Nf4Weight {
  explicit Nf4Weight(const View& w) {
    const QuantizedLayout at = quantized_layout(DType::NF4, w.dims[0], w.dims[1]);
    char* base = w.as<char>();
    codes = w.as<uint8_t>();
    scales = reinterpret_cast<uint8_t*>(base + at.scales);
    nested = reinterpret_cast<float*>(base + at.nested);
    offset = reinterpret_cast<float*>(base + at.offset);
    blocks = (w.size() + NF4_BLOCK - 1) / NF4_BLOCK;
  }
  int64_t nested_blocks() const { return (blocks + NF4_NESTED - 1) / NF4_NESTED; }

  uint8_t* codes;
  uint8_t* scales;
  float* nested;
  float* offset;
  int64_t blocks;
};

}  // namespace lowrank
