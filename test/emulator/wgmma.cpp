// wgmma: products of a warpgroup, whose operands are read and whose accumulators come back when they are waited for.
// Each warp has 16 of the 64 rows.

#include "test/emulator/runtime.h"

namespace lowrank::emulator {
namespace {

constexpr uint32_t ALL = ~0u;

// Shared address of element (mn, k) of a 16-bit operand. `stride` and `leading` are bytes between 8-row groups and
// between the next pieces along the other dimension; see wgmma_descriptor in cuda/ptx.cuh.
uint32_t operand_address(uint64_t descriptor, bool transposed, int mn, int k) {
  constexpr uint32_t SPANS[] = {0, 128, 64, 32};
  const uint32_t start = uint32_t(descriptor & 0x3fff) << 4, leading = uint32_t(descriptor >> 16 & 0x3fff) << 4;
  const uint32_t stride = uint32_t(descriptor >> 32 & 0x3fff) << 4, span = SPANS[descriptor >> 62];
  const uint32_t i = uint32_t(mn), j = uint32_t(k);
  uint32_t offset;
  if (transposed && span) {
    const uint32_t across = span / 2;  // elements of a line
    offset = i / across * leading + i % across * 2 + j / 8 * stride + j % 8 * span;
  } else if (transposed) {
    offset = i / 8 * stride + i % 8 * 2 + j / 8 * leading + j % 8 * 16;
  } else if (span) {
    offset = i / 8 * stride + i % 8 * span + j * 2;
  } else {
    offset = i / 8 * stride + i % 8 * 16 + j / 8 * leading + j % 8 * 2;
  }
  return swizzled(start + offset, span);
}

// Eight elements along k, from k on, as the async proxy sees them.
void read_operand(const Block& block, const WgmmaOperation& operation, uint64_t descriptor, bool transposed, int mn,
                  int k, float (&out)[8]) {
  uint16_t bits[8];
  const int pieces = transposed ? 8 : 1;
  const size_t bytes = 16 / size_t(pieces);
  for (int i = 0; i < pieces; ++i) {
    const uint32_t address = operand_address(descriptor, transposed, mn, k + i);
    const char* at = shared_bytes(address, bytes, bytes, "wgmma operand", operation.site);
    races::read(at, bytes);
    std::memcpy(bits + i, async_bytes(block, at), bytes);
  }
  for (int i = 0; i < 8; ++i) out[i] = value_of(operation.what.element, bits[i]);
}

void compute(Warp& warp, WgmmaOperation& operation) {
  if (operation.done) return;
  operation.done = true;
  ++counters.wgmma;
  const Wgmma& what = operation.what;
  const Block& block = *warp.of;
  if (!what.a)
    for (int row = 0; row < 16; ++row)
      for (int k = 0; k < 16; k += 8) {
        auto& half = reinterpret_cast<float(&)[8]>(operation.a[row][k]);
        read_operand(block, operation, what.a_desc, what.a_transposed, warp.index % 4 * 16 + row, k, half);
      }
  float b[16][256];
  for (int n = 0; n < what.n; ++n)
    for (int k = 0; k < 16; k += 8) {
      float column[8];
      read_operand(block, operation, what.b_desc, what.b_transposed, n, k, column);
      for (int i = 0; i < 8; ++i) b[k + i][n] = column[i];
    }
  for (int row = 0; row < 16; ++row) {
    float* sums = operation.accumulator->rows[row];
    if (!what.accumulate) std::memset(sums, 0, sizeof(float) * size_t(what.n));
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < what.n; ++n) sums[n] += operation.a[row][k] * b[k][n];
  }
}

// Calls f(register, element) for every accumulator of the warp: lane l holds rows l / 4 and l / 4 + 8, of each 8
// columns the two from l % 4 * 2 on.
template <typename F>
void each_accumulator(Accumulator& accumulator, F&& f) {
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < accumulator.n / 2; ++i) {
      const int row = lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      f(accumulator.registers[lane][i], accumulator.rows[row][column]);
    }
}

void finish_group(Warp& warp, std::vector<WgmmaOperation>& group) {
  for (WgmmaOperation& operation : group) {
    compute(warp, operation);
    Accumulator& accumulator = *operation.accumulator;
    if (--accumulator.uses > 0) continue;
    each_accumulator(accumulator, [](float& in_register, float& value) { in_register = value; });
    warp.accumulators.erase(accumulator.registers[0]);
  }
}

const Wgmma& operands(const Warp& warp, int lane) { return *static_cast<const Wgmma*>(warp.lanes[lane].operand); }

// From now on, and until the wait, the registers hold nothing.
std::shared_ptr<Accumulator> take_registers(Warp& warp, int n) {
  auto& accumulator = warp.accumulators[operands(warp, 0).d];
  if (accumulator) return accumulator;
  accumulator = std::make_shared<Accumulator>();
  accumulator->n = n;
  for (int lane = 0; lane < 32; ++lane) accumulator->registers[lane] = operands(warp, lane).d;
  each_accumulator(*accumulator, [](float& in_register, float& value) {
    value = in_register;
    std::memset(&in_register, POISON, 4);
  });
  return accumulator;
}

// A from registers, laid out as in mma.sync m16n8k16.
void read_registers(const Warp& warp, Element element, float (&a)[16][16]) {
  for (int lane = 0; lane < 32; ++lane) {
    const uint32_t* r = operands(warp, lane).a;
    for (int i = 0; i < 8; ++i) {
      const int row = lane / 4 + i / 2 % 2 * 8, column = lane % 4 * 2 + i / 4 * 8 + i % 2;
      a[row][column] = value_of(element, r[i / 2] >> 16 * (i % 2));
    }
  }
}

void check_same(Warp& warp, const Wgmma& first, Site site) {
  if (!warp.wgmma_fenced) fail(site, "wgmma without wgmma.fence since the kernel's start or the last full wait");
  const int group = warp.index / 4;
  if (int(warp.of->warps.size()) < group * 4 + 4) fail(site, "wgmma: warpgroup %d has fewer than four warps", group);
  for (int lane = 1; lane < 32; ++lane) {
    const Wgmma& other = operands(warp, lane);
    if ((!first.a && other.a_desc != first.a_desc) || other.b_desc != first.b_desc ||
        other.accumulate != first.accumulate)
      fail(site, "wgmma: lane %d has other operands than lane 0", lane);
  }
  const size_t hash = (first.a ? 0 : first.a_desc * 31) + first.b_desc * 7 + size_t(first.n) * 3 + first.accumulate;
  auto& [expected, warps] = warp.of->wgmma_order[group][warp.wgmma_issued++];
  if (warps == 0) expected = hash;
  if (expected != hash) fail(site, "wgmma: the four warps of warpgroup %d issue different operations", group);
  ++warps;
}

}  // namespace

void wgmma_fence(Site site) {
  collective(Collective::Fence, ALL, nullptr, "wgmma.fence", true, site, [](Warp& warp) { warp.wgmma_fenced = true; });
}

void wgmma_commit(Site site) {
  collective(Collective::Commit, ALL, nullptr, "wgmma.commit_group", true, site,
             [](Warp& warp) { warp.wgmma.commit(); });
}

// What the products read, whichever lane computes them, is read before all lanes go on.
void wgmma_wait(int pending, Site site) {
  const char* const token = self().team->waits.now();
  races::release(token);
  collective(Collective::Wait, ALL, nullptr, "wgmma.wait_group", true, site, [pending, token](Warp& warp) {
    auto& groups = warp.wgmma.committed;
    races::acquire(token);
    for (; int(groups.size()) > pending; groups.pop_front()) finish_group(warp, groups.front());
    races::release(token);
    ++warp.waits.number;
    if (pending == 0) warp.wgmma_fenced = false;
  });
  races::acquire(token);
}

void wgmma(const Wgmma& operation, Site site) {
  Wgmma mine = operation;
  collective(Collective::Wgmma, ALL, &mine, "wgmma.mma_async", true, site, [site](Warp& warp) {
    const Wgmma& first = operands(warp, 0);
    check_same(warp, first, site);
    WgmmaOperation operation{first, {}, take_registers(warp, first.n), site};
    if (operation.accumulator->n != first.n) fail(site, "wgmma: these accumulators are in flight with another shape");
    if (first.a) read_registers(warp, first.element, operation.a);
    ++operation.accumulator->uses;
    warp.wgmma.open.push_back(std::move(operation));
    if (!at_once()) return;
    for (auto& group : warp.wgmma.committed)
      for (WgmmaOperation& earlier : group) compute(warp, earlier);
    for (WgmmaOperation& earlier : warp.wgmma.open) compute(warp, earlier);
  });
}

void check_wgmma(const Block& block) {
  for (const auto& order : block.wgmma_order)
    for (const auto& [at, found] : order)
      check(found.second == 4, Code::Cuda, "emulator: a wgmma was not executed by all four warps of its warpgroup");
}

}  // namespace lowrank::emulator
