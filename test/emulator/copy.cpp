// cp.async and TMA: copies that are in flight until somebody waits for them. What is being written reads as NaN.

#include <algorithm>

#include "test/emulator/runtime.h"

namespace lowrank::emulator {
namespace {

void land(Copy& copy) {
  if (copy.done) return;
  copy.done = true;
  races::write(copy.to, size_t(copy.bytes));
  races::read(copy.from, size_t(copy.valid));
  std::memcpy(copy.to, copy.from, size_t(copy.valid));
  std::memset(copy.to + copy.valid, 0, size_t(copy.bytes - copy.valid));
}

size_t box_bytes(const TensorMap& map) { return size_t(map.box[0]) * map.box[1] * map.box[2] * size_t(map.element); }

struct Chunk {
  char* global;    // of the first valid byte
  size_t skip, n;  // bytes outside the tensor before it, bytes inside
};

constexpr size_t CHUNK = 16;  // bytes, which a swizzle never separates

// What the tensor has of 16 bytes of the box, from element `column` of row (y, z) on.
Chunk chunk_of(const Transfer& transfer, size_t column, const int (&row)[3]) {
  const TensorMap& map = transfer.map;
  char* global = map.base;
  for (int d = 1; d < map.rank; ++d) {
    const int64_t i = int64_t(transfer.at.at[d]) + row[d];
    if (i < 0 || i >= int64_t(map.dims[d])) return {nullptr, 0, 0};
    global += i * int64_t(map.strides[d]);
  }
  const int64_t size = map.element, begin = (transfer.at.at[0] + int64_t(column)) * size;
  const int64_t from = std::max<int64_t>(begin, 0);
  const int64_t to = std::min(begin + int64_t(CHUNK), int64_t(map.dims[0]) * size);
  if (to <= from) return {nullptr, 0, 0};
  return {global + from, size_t(from - begin), size_t(to - from)};
}

void move_chunk(const Transfer& transfer, Block& block, size_t byte, const int (&row)[3]) {
  const TensorMap& map = transfer.map;
  const size_t pitch = size_t(map.box[0]) * size_t(map.element);
  const size_t offset = (size_t(row[2]) * map.box[1] + size_t(row[1])) * pitch + byte;
  const uint32_t local = swizzled((transfer.shared & 0xffffff) + uint32_t(offset), map.swizzle);
  char* shared = shared_bytes(local | (block.rank + 1) << 24, CHUNK, CHUNK, "TMA", transfer.site);
  const Chunk chunk = chunk_of(transfer, byte / size_t(map.element), row);
  if (transfer.kind == Kind::Store) {
    races::read(shared, CHUNK);
    races::write(chunk.global, chunk.n);
    if (chunk.n) std::memcpy(chunk.global, async_bytes(block, shared) + chunk.skip, chunk.n);
    return;
  }
  races::write(shared, CHUNK);
  races::read(chunk.global, chunk.n);
  char bytes[CHUNK] = {};
  if (chunk.n) std::memcpy(bytes + chunk.skip, chunk.global, chunk.n);
  async_write(block, shared, bytes, CHUNK);
}

void move_box(const Transfer& transfer, Block& block) {
  const TensorMap& map = transfer.map;
  int row[3] = {};
  for (row[2] = 0; row[2] < int(map.box[2]); ++row[2])
    for (row[1] = 0; row[1] < int(map.box[1]); ++row[1])
      for (size_t byte = 0; byte < map.box[0] * size_t(map.element); byte += CHUNK)
        move_chunk(transfer, block, byte, row);
}

void land_in(const Transfer& transfer, Block& block) {
  move_box(transfer, block);
  mbarrier_complete(transfer.barrier, int64_t(box_bytes(transfer.map)), block, transfer.site);
}

// Copies of a thread are complete; they arrive for it.
void land_arrival(const Transfer& transfer) {
  const auto land_group = [&](std::vector<Copy>& group) {
    for (Copy& copy : group)
      if (copy.number < transfer.copies) land(copy);
  };
  for (auto& group : transfer.thread->copies.committed) land_group(group);
  land_group(transfer.thread->copies.open);
  mbarrier_arrive_late(transfer.barrier, *transfer.block, transfer.site);
}

// To TSan the engine of a thread is a thread too: what released `token` started it, and its end is an mbarrier, or
// `token` again.
template <typename F>
void as_engine(Thread& issuer, const void* token, F&& act) {
  if (!issuer.race_engine) issuer.race_engine = races::new_fiber();
  void* const waiting = races::this_fiber();
  races::enter(issuer.race_engine);
  races::acquire(token);
  act();
  races::release(token);
  races::enter(waiting);
}

// Whoever waits runs it, in the name of the issuing block: addresses are that block's.
void land(Transfer& transfer) {
  if (transfer.done) return;
  transfer.done = true;
  counters.tma += transfer.kind != Kind::Arrival;
  ThreadId* const waiting = current;
  current = &transfer.block->threads[0];
  as_engine(*transfer.thread, &transfer, [&] {
    if (transfer.kind == Kind::Arrival) return land_arrival(transfer);
    if (transfer.kind == Kind::Store) return move_box(transfer, *transfer.block);
    for (Block* block : transfer.block->cluster->blocks)
      if (transfer.blocks >> block->rank & 1) land_in(transfer, *block);
  });
  current = waiting;
}

void check_box(const TensorMap& map, Coordinates at, uint32_t shared, const char* what, Site site) {
  if (at.rank != map.rank) fail(site, "%s: %d coordinates for a tensor map of rank %d", what, at.rank, map.rank);
  // A swizzle pattern repeats after 8 rows of its span; the address must start one.
  shared_bytes(shared, box_bytes(map), map.swizzle ? map.swizzle * 8 : 128, what, site);
}

}  // namespace

uint32_t swizzled(uint32_t address, uint32_t span) {
  // 16-byte chunk ^= 128-byte line, in as many bits as the span has chunks.
  return span ? address ^ ((address >> 7 & (span / 16 - 1)) << 4) : address;
}

// Copies have no order among themselves, not even those of one thread.
void check_target(const Groups<Copy>& copies, const char* to, int bytes, Site site) {
  const auto overlaps = [&](const Copy& copy) {
    return !copy.done && to < copy.to + copy.bytes && copy.to < to + bytes;
  };
  const auto check_group = [&](const std::vector<Copy>& group) {
    if (std::any_of(group.begin(), group.end(), overlaps)) fail(site, "cp.async into the target of a copy in flight");
  };
  for (const auto& group : copies.committed) check_group(group);
  check_group(copies.open);
}

void cp_async(uint32_t to, const void* from, int bytes, int valid, Site site) {
  ++counters.copies;
  check_waited("cp.async", site);
  char* shared = shared_bytes(to, size_t(bytes), size_t(bytes), "cp.async", site);
  if (bytes != 4 && bytes != 8 && bytes != 16) fail(site, "cp.async: %d bytes; 4, 8 or 16", bytes);
  if (valid < 0 || valid > bytes) fail(site, "cp.async: a source of %d bytes for %d", valid, bytes);
  if (valid && reinterpret_cast<uintptr_t>(from) % uintptr_t(bytes))
    fail(site, "cp.async: the source is no multiple of %d", bytes);
  check_target(self().copies, shared, bytes, site);
  races::write(shared, size_t(bytes));
  std::memset(shared, POISON, size_t(bytes));
  auto& open = self().copies.open;
  open.push_back({shared, static_cast<const char*>(from), bytes, valid, self().copied++, false});
  if (at_once()) land(open.back());
}

void cp_async_commit() { self().copies.commit(); }

void cp_async_wait(int pending) {
  Thread& thread = self();
  auto& groups = thread.copies.committed;
  for (; int(groups.size()) > pending; groups.pop_front())
    for (Copy& copy : groups.front()) {
      if (copy.number >= thread.announced) {
        land(copy);
        continue;
      }
      // An mbarrier promises it to others, too, who are not ordered after this wait.
      as_engine(thread, &thread.announced, [&] { land(copy); });
      races::acquire(&thread.announced);
    }
}

void cp_async_arrive(uint32_t barrier, Site site) {
  Thread& thread = self();
  check_usable(barrier, site);
  thread.announced = thread.copied;
  const auto arrival = std::make_shared<Transfer>(
      Transfer{Kind::Arrival, {}, {}, 0, barrier, 0, thread.of, site, &thread, false, thread.copied});
  races::release(arrival.get());
  races::release(&thread.announced);
  if (options().async == Async::Early) land(*arrival);
  else thread.of->in_flight.push_back(arrival);
}

void check_tensor_map(const TensorMap& map) {
  check(reinterpret_cast<uintptr_t>(map.base) % 16 == 0, Code::Cuda, "tensor map: the base is no multiple of 16");
  for (int d = 0; d < map.rank; ++d) {
    check(map.dims[d] >= 1, Code::Cuda, "tensor map: dimension ", d, " is empty");
    check(map.box[d] >= 1 && map.box[d] <= 256, Code::Cuda, "tensor map: a box of ", map.box[d], "; 1 to 256");
    check(d == 0 || map.strides[d] % 16 == 0, Code::Cuda, "tensor map: a stride of ", map.strides[d],
          " bytes is no multiple of 16");
  }
  const uint32_t inner = map.box[0] * uint32_t(map.element);
  check(inner % 16 == 0, Code::Cuda, "tensor map: inner box of ", inner, " bytes is no multiple of 16");
  check(!map.swizzle || inner <= map.swizzle, Code::Cuda, "tensor map: inner box of ", inner,
        " bytes is wider than the swizzle of ", map.swizzle);
}

void tma_load(uint32_t to, const TensorMap* map, Coordinates at, uint32_t barrier, uint16_t blocks, Site site) {
  Thread& thread = self();
  check_waited("TMA load", site);
  check_box(*map, at, to, "TMA load", site);
  shared_bytes(barrier, 8, 8, "mbarrier of a TMA load", site);
  const uint16_t mask = blocks ? blocks : uint16_t(1u << thread.of->rank);
  if (mask >> thread.of->cluster->blocks.size())
    fail(site, "TMA multicast: mask 0x%x names blocks outside the cluster", mask);
  const auto transfer =
      std::make_shared<Transfer>(Transfer{Kind::Load, *map, at, to, barrier, mask, thread.of, site, &thread});
  races::release(transfer.get());
  const std::vector<char> poison(box_bytes(*map), char(POISON));
  for (Block* block : thread.of->cluster->blocks) {
    if (!(mask >> block->rank & 1)) continue;
    for (const uint32_t unfenced : block->unfenced)
      if (unfenced == (barrier & 0xffffff)) fail(site, "TMA: the mbarrier's init was never fenced");
    const uint32_t address = (to & 0xffffff) | (block->rank + 1) << 24;
    async_write(*block, shared_bytes(address, poison.size(), 1, "TMA load", site), poison.data(), poison.size());
  }
  if (options().async == Async::Early) land(*transfer);
  else thread.of->in_flight.push_back(transfer);
}

void tma_store(const TensorMap* map, Coordinates at, uint32_t from, Site site) {
  Thread& thread = self();
  check_waited("TMA store", site);
  check_box(*map, at, from, "TMA store", site);
  const auto transfer =
      std::make_shared<Transfer>(Transfer{Kind::Store, *map, at, from, 0, 0, thread.of, site, &thread});
  races::release(transfer.get());
  thread.stores.open.push_back(transfer);
  if (options().async == Async::Early) land(*transfer);
  if (options().async == Async::Random) thread.of->in_flight.push_back(transfer);
}

void tma_commit() { self().stores.commit(); }

void tma_wait(int pending) {
  auto& groups = self().stores.committed;
  for (; int(groups.size()) > pending; groups.pop_front())
    for (const auto& transfer : groups.front()) {
      land(*transfer);
      races::acquire(transfer.get());
    }
}

// Any of a block's transfers may land first.
bool land_transfer(bool force) {
  if (!force && random_bits() % 8) return false;
  for (const auto& block : runtime.blocks) {
    auto& flying = block->in_flight;
    if (flying.empty()) continue;
    const size_t i = random_bits() % flying.size();
    const auto transfer = flying[i];
    flying.erase(flying.begin() + std::ptrdiff_t(i));
    land(*transfer);
    return true;
  }
  return false;
}

}  // namespace lowrank::emulator
