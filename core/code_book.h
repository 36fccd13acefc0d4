#pragma once

// The 256 values an 8-bit optimizer state can have, as parts of its block's largest: "dynamic tree" numbers (Dettmers
// et al., 8-bit Optimizers via Block-wise Quantization, 2022). Decade d, from 10^(d-7) to 10^(d-6) for d = 0 to 6, is
// cut into equal parts, whose middles are values: 2^(d+1) parts without a sign; with one 2^d, and as many below zero.
// With 0 and 1 that makes 256, in ascending order.
namespace lowrank {

constexpr int STATE_BLOCK = 256;  // elements that share a scale

struct CodeBook {
  float value[256];
};

inline CodeBook code_book(bool is_signed) {
  CodeBook book = {};
  const int zero = is_signed ? 127 : 0;
  int code = zero + 1;
  double top = 1e-6;
  for (int decade = 0; decade < 7; ++decade, top *= 10) {
    const int parts = (is_signed ? 1 : 2) << decade;
    for (int part = 0; part < parts; ++part, ++code) {
      book.value[code] = float(top * (0.1 + 0.9 * (part + 0.5) / parts));
      if (is_signed) book.value[2 * zero - code] = -book.value[code];
    }
  }
  book.value[255] = 1;
  return book;
}

}  // namespace lowrank
