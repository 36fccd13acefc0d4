// Tests the decoding of weights in blocks against core/blocks.h, bit for bit, for every instruction set this machine
// has: any bytes, any range of elements, nothing read behind the last block. Prints what fails; exit code 1.
#include "core/blocks.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "core/view.h"
#include "cpu/isa.h"
#include "cpu/vector/rows.h"

using namespace lowrank;

namespace {

int failures = 0, cases = 0;
std::mt19937 generator(7);

template <DType Format>
float element(const uint8_t* weight, int64_t i) {
  constexpr BlockFormat FORMAT = block_format(Format);
  const int within = int(i % FORMAT.elements);
  return block_run<Format>(weight + i / FORMAT.elements * FORMAT.bytes, within / BLOCK_RUN)[within % BLOCK_RUN];
}

// As the processor's own conversion has it where the f16 is a number.
void test_f16() {
  for (uint32_t half = 0; half < 65536; ++half) {
    const uint8_t bytes[2] = {uint8_t(half), uint8_t(half >> 8)};
    const int exponent = int(half >> 10 & 31), fraction = int(half & 1023);
    if (exponent == 31) continue;
    const float size = exponent ? std::ldexp(float(1024 + fraction), exponent - 25) : std::ldexp(float(fraction), -24);
    const float want = half >> 15 ? -size : size, got = blocks::f16_at(bytes);
    ++cases;
    if (std::memcmp(&want, &got, sizeof got) != 0 && ++failures < 40)
      std::printf("FAIL f16 %04x: %g, expected %g\n", half, double(got), double(want));
  }
}

template <DType Format>
void test_format(const char* isa, uint8_t* end) {
  constexpr BlockFormat FORMAT = block_format(Format);
  constexpr int64_t BLOCKS = 9, SIZE = BLOCKS * FORMAT.elements;
  uint8_t* weight = end - BLOCKS * FORMAT.bytes;
  for (uint8_t* at = weight; at < end; ++at) *at = uint8_t(generator());
  // Scales that are numbers.
  for (int64_t block = 0; block < BLOCKS; ++block)
    for (const int64_t at : FORMAT.scales)
      if (at >= 0) weight[block * FORMAT.bytes + at + 1] &= 0xbf;
  for (int round = 0; round < 300; ++round) {
    const int64_t a = int64_t(generator()) % (SIZE + 1), b = int64_t(generator()) % (SIZE + 1);
    const int64_t begin = round ? std::min(a, b) : 0, stop = round ? std::max(a, b) : SIZE;
    std::vector<float> got(size_t(stop - begin) + 1, 123.0f);
    cpu::row_kernels().decode_blocks(Format, weight, begin, stop, got.data());
    bool same = got.back() == 123.0f;
    for (int64_t i = begin; i < stop; ++i) {
      const float want = element<Format>(weight, i);
      same = same && std::memcmp(&want, &got[size_t(i - begin)], sizeof want) == 0;
    }
    ++cases;
    if (!same && ++failures < 40)
      std::printf("FAIL %s %s [%lld, %lld)\n", isa, name_of(Format), static_cast<long long>(begin),
                  static_cast<long long>(stop));
  }
}

}  // namespace

int main() {
  constexpr size_t PAGES = 16 * 4096;
  auto* memory =
      static_cast<uint8_t*>(mmap(nullptr, PAGES + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  mprotect(memory + PAGES, 4096, PROT_NONE);
  test_f16();
  for (const char* isa : cpu::isa_names()) {
    cpu::set_isa(isa);
    for (int dtype = int(DType::Q4_0); dtype <= int(DType::Q6_K); ++dtype)
      with_blocks(DType(dtype), [&](auto format) { test_format<decltype(format)::value>(isa, memory + PAGES); });
  }
  std::printf("blocks_test: %d checks, %d failed\n", cases, failures);
  return failures ? 1 : 0;
}
