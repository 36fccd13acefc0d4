// What the lanes of a warp do together: shuffles, votes, matrix loads and stores, mma.sync.

#include <cmath>

#include "test/emulator/runtime.h"

namespace lowrank::emulator {
namespace {

constexpr uint32_t ALL = ~0u;

template <typename T>
T& operand(Warp& warp, int lane) {
  return *static_cast<T*>(warp.lanes[lane].operand);
}

struct ShuffleOperand {
  uint64_t in, out;
  Shuffle mode;
  int argument, width;
};

// The lane that `lane` reads from.
int source_of(const ShuffleOperand& what, int lane) {
  const int begin = lane & ~(what.width - 1), end = begin + what.width;
  int from = lane;
  switch (what.mode) {
    case Shuffle::Index: return begin | (what.argument & (what.width - 1));
    case Shuffle::Up: from = lane - what.argument; break;
    case Shuffle::Xor: from = lane ^ what.argument; break;
  }
  return from < begin && what.mode == Shuffle::Up ? lane : from >= end ? lane : from;
}

struct MatrixOperand {
  uint16_t row[8];
  uint32_t address;
  uint32_t* registers;
};

// Element (row, column) of 8x8 matrix m: lane 8m + row gave the address of the row.
uint16_t& element(Warp& warp, int m, int row, int column) {
  return operand<MatrixOperand>(warp, 8 * m + row).row[column];
}

// Rows of a matrix whose 16 bytes fall into the same four banks take turns.
void count_conflicts(Warp& warp, int count) {
  for (int m = 0; m < count; ++m) {
    int rows[8] = {}, most = 0;
    for (int row = 0; row < 8; ++row)
      most = std::max(most, ++rows[operand<MatrixOperand>(warp, 8 * m + row).address / 16 % 8]);
    counters.conflicts += uint64_t(most - 1);
  }
}

struct MmaOperand {
  float* d;
  const uint32_t *a, *b;
};

// D[16, 8] += A[16, K] B[K, 8] from the registers of all lanes; group g = lane / 4 holds rows g and g + 8 of A and D
// and column g of B.
void gather_16bit(Warp& warp, Element type, float (&a)[16][16], float (&b)[16][8]) {
  for (int lane = 0; lane < 32; ++lane) {
    const auto& x = operand<MmaOperand>(warp, lane);
    const int g = lane / 4, t = lane % 4 * 2;
    for (int r = 0; r < 4; ++r)
      for (int half = 0; half < 2; ++half) a[g + r % 2 * 8][t + r / 2 * 8 + half] = value_of(type, x.a[r] >> 16 * half);
    for (int r = 0; r < 2; ++r)
      for (int half = 0; half < 2; ++half) b[t + r * 8 + half][g] = value_of(type, x.b[r] >> 16 * half);
  }
}

float tf32_value(uint32_t bits) {
  bits &= 0xffffe000;  // the hardware reads 19 bits
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

void gather_tf32(Warp& warp, float (&a)[16][16], float (&b)[16][8]) {
  for (int lane = 0; lane < 32; ++lane) {
    const auto& x = operand<MmaOperand>(warp, lane);
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; ++r) a[g + r % 2 * 8][t + r / 2 * 4] = tf32_value(x.a[r]);
    for (int r = 0; r < 2; ++r) b[t + r * 4][g] = tf32_value(x.b[r]);
  }
}

}  // namespace

float f16_value(uint32_t bits) {
  const int exponent = int(bits >> 10 & 31), mantissa = int(bits & 1023);
  const float sign = bits & 0x8000 ? -1.0f : 1.0f;
  if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(float(mantissa), -24);
  return sign * std::ldexp(float(1024 + mantissa), exponent - 25);
}

void sync_warp(uint32_t mask, Site site) {
  const char* const token = self().team->syncs.now();
  races::release(token);
  collective(Collective::Sync, mask, nullptr, "__syncwarp", false, site, [mask](Warp& warp) {
    if (mask == ALL) ++warp.syncs.number;
  });
  races::acquire(token);
  self().met = self().of->clock;
}

void check_converged(const char* what, Site site) {
  collective(Collective::Converged, ALL, nullptr, what, true, site, [](Warp&) {});
}

uint64_t shuffle(uint32_t mask, uint64_t value, Shuffle mode, int argument, int width, Site site) {
  if (width < 1 || width > 32 || (width & (width - 1))) fail(site, "shuffle: a width of %d", width);
  ShuffleOperand what{value, value, mode, argument, width};
  collective(Collective::Shuffle, mask, &what, "a shuffle", false, site, [&](Warp& warp) {
    for (int lane = 0; lane < 32; ++lane) {
      if (!(mask >> lane & 1)) continue;
      auto& reader = operand<ShuffleOperand>(warp, lane);
      const int from = source_of(reader, lane);
      if (!(mask >> from & 1)) fail(site, "shuffle: lane %d reads lane %d, which takes no part", lane, from);
      reader.out = operand<ShuffleOperand>(warp, from).in;
    }
  });
  return what.out;
}

uint32_t ballot(uint32_t mask, bool predicate, Site site) {
  uint32_t value = predicate;
  collective(Collective::Vote, mask, &value, "a vote", false, site, [mask](Warp& warp) {
    uint32_t votes = 0;
    for (int lane = 0; lane < 32; ++lane)
      if (mask >> lane & 1 && operand<uint32_t>(warp, lane)) votes |= 1u << lane;
    for (int lane = 0; lane < 32; ++lane)
      if (mask >> lane & 1) operand<uint32_t>(warp, lane) = votes;
  });
  return value;
}

void ldmatrix(uint32_t* r, int count, uint32_t address, bool transpose, Site site) {
  MatrixOperand mine{{}, address, r};
  if (self().lane < 8 * count) {
    const char* const row = shared_bytes(address, 16, 16, "ldmatrix", site);
    races::read(row, 16);
    std::memcpy(mine.row, row, 16);
  }
  collective(Collective::Load, ALL, &mine, "ldmatrix", true, site, [=](Warp& warp) {
    ++counters.ldmatrix;
    count_conflicts(warp, count);
    for (int lane = 0; lane < 32; ++lane)
      for (int m = 0; m < count; ++m) {
        const int g = lane / 4, t = lane % 4 * 2;
        const uint32_t low = transpose ? element(warp, m, t, g) : element(warp, m, g, t);
        const uint32_t high = transpose ? element(warp, m, t + 1, g) : element(warp, m, g, t + 1);
        operand<MatrixOperand>(warp, lane).registers[m] = low | high << 16;
      }
  });
}

void stmatrix(const uint32_t* r, int count, uint32_t address, bool transpose, Site site) {
  MatrixOperand mine{{}, address, const_cast<uint32_t*>(r)};
  const bool owner = self().lane < 8 * count;
  char* row = owner ? shared_bytes(address, 16, 16, "stmatrix", site) : nullptr;
  collective(Collective::Store, ALL, &mine, "stmatrix", true, site, [=](Warp& warp) {
    for (int lane = 0; lane < 32; ++lane)
      for (int m = 0; m < count; ++m) {
        const int g = lane / 4, t = lane % 4 * 2;
        const uint32_t value = operand<MatrixOperand>(warp, lane).registers[m];
        (transpose ? element(warp, m, t, g) : element(warp, m, g, t)) = uint16_t(value);
        (transpose ? element(warp, m, t + 1, g) : element(warp, m, g, t + 1)) = uint16_t(value >> 16);
      }
  });
  if (!row) return;
  races::write(row, 16);
  std::memcpy(row, mine.row, 16);
}

void mma(float* d, const uint32_t* a, const uint32_t* b, Element type, Site site) {
  MmaOperand mine{d, a, b};
  collective(Collective::Mma, ALL, &mine, "mma.sync", true, site, [type](Warp& warp) {
    ++counters.mma;
    float left[16][16], right[16][8];
    const int depth = type == Element::TF32 ? 8 : 16;
    if (type == Element::TF32) gather_tf32(warp, left, right);
    else gather_16bit(warp, type, left, right);
    float sums[16][8] = {};
    for (int i = 0; i < 16; ++i)
      for (int k = 0; k < depth; ++k)
        for (int j = 0; j < 8; ++j) sums[i][j] += left[i][k] * right[k][j];
    for (int lane = 0; lane < 32; ++lane) {
      float* mine_d = operand<MmaOperand>(warp, lane).d;
      const int g = lane / 4, t = lane % 4 * 2;
      for (int r = 0; r < 4; ++r) mine_d[r] += sums[g + r / 2 * 8][t + r % 2];
    }
  });
}

}  // namespace lowrank::emulator
