// Barriers of a block and of a cluster, mbarriers, and what a thread may not leave behind.

#include "test/emulator/runtime.h"

namespace lowrank::emulator {
namespace {

// An mbarrier, in its 8 bytes of shared memory.
struct Mbarrier {
  uint64_t magic : 8, phase : 1, expected : 14, pending : 14;
  int64_t bytes : 22;  // that asynchronous copies still owe; may be negative for a moment
};
static_assert(sizeof(Mbarrier) == 8);
constexpr uint64_t MAGIC = 0xb7;
constexpr int64_t MOST_BYTES = (1 << 20) - 1;

Mbarrier read_mbarrier(uint32_t address, Site site, Block** block = nullptr) {
  Mbarrier barrier;
  std::memcpy(&barrier, shared_bytes(address, 8, 8, "mbarrier", site, block), 8);
  if (barrier.magic != MAGIC) fail(site, "mbarrier at 0x%x is used, but not initialised (or overwritten)", address);
  return barrier;
}

// What this thread did comes before what others do after the phase; a byte of the barrier stands for each parity.
void order_before(const Mbarrier& barrier, uint32_t address, Site site) {
  const char* const at = shared_bytes(address, 8, 8, "mbarrier", site);
  races::read(at, 8);
  races::release(at + barrier.phase);
}

constexpr uint32_t local_address(uint32_t address) { return address & 0xffffff; }

void meet(Thread& thread) { thread.met = thread.of->clock; }

// Whoever uses an mbarrier must have met others since it was initialised, whatever the order they happened to run in.
void check_met(uint32_t address, Site site) {
  const Thread& thread = self();
  const auto found = thread.of->initialised.find(address);
  if (found == thread.of->initialised.end()) return;
  const auto [by, when] = found->second;
  if (by != &thread && thread.met < when)
    fail(site, "mbarrier at 0x%x is used, with no barrier since thread (%u,%u,%u) initialised it", address,
         by->thread.x, by->thread.y, by->thread.z);
}

// Stores it; a complete phase flips and wakes who waits for it.
void write_mbarrier(uint32_t address, Mbarrier barrier, Block& block, char* at) {
  if (barrier.pending == 0 && barrier.bytes == 0) {
    barrier.phase ^= 1;
    barrier.pending = barrier.expected;
    for (Thread& thread : block.threads) {
      if (thread.waits_on != local_address(address)) continue;
      thread.waits_on = 0;
      wake(thread);
    }
  }
  std::memcpy(at, &barrier, 8);
}

void add_bytes(Mbarrier& barrier, int64_t bytes, Site site) {
  const int64_t owed = int64_t(barrier.bytes) + bytes;
  if (owed > MOST_BYTES || owed < -MOST_BYTES) fail(site, "mbarrier: the transaction count is out of range");
  barrier.bytes = owed;
}

bool phase_passed(uint32_t address, uint32_t parity, Site site) {
  if (address >> 24) fail(site, "mbarrier wait: only the own block's barriers can be waited for");
  const Mbarrier barrier = read_mbarrier(address, site);
  check_met(address, site);
  const char* const at = shared_bytes(address, 8, 8, "mbarrier", site);
  races::read(at, 8);
  if (barrier.phase == (parity & 1)) return false;
  races::acquire(at + (parity & 1));
  meet(self());
  return true;
}

}  // namespace

void barrier_sync(int id, int threads, Site site) {
  Thread& thread = self();
  Block& block = *thread.of;
  if (id < 0 || id > 15 || threads % 32)
    fail(site, "barrier %d of %d threads: ids are 0 to 15, counts whole warps", id, threads);
  Barrier& barrier = block.barriers[id];
  const int all = int(block.threads.size()), expected = threads ? threads : all;
  const char* name = threads ? "named barrier" : "__syncthreads";
  if (!threads && block.live != all) fail(site, "__syncthreads after %d threads have exited", all - block.live);
  if (barrier.arrived && barrier.expected != expected)
    fail(site, "barrier %d: %d threads here, %d at %s:%d", id, expected, barrier.expected, barrier.site.file,
         barrier.site.line);
  if (barrier.arrived && !threads && barrier.site.line != site.line)
    fail(site, "__syncthreads in divergent code: %s:%d and %s:%d", barrier.site.file, barrier.site.line, site.file,
         site.line);
  barrier.expected = expected;
  barrier.site = site;
  const char* const token = barrier.phases.now();
  races::release(token);
  if (++barrier.arrived == expected) {
    ++counters.barriers;
    ++barrier.phases.number;
    barrier.arrived = 0;
    for (Thread* other : barrier.waiting) wake(*other);
    barrier.waiting.clear();
  } else {
    barrier.waiting.push_back(&thread);
    wait_here(name, site);
  }
  races::acquire(token);
  meet(thread);
}

void cluster_arrive(Site site) {
  Thread& thread = self();
  Cluster& cluster = *thread.of->cluster;
  if (thread.cluster_arrived) fail(site, "barrier.cluster.arrive twice without a wait");
  thread.cluster_arrived = true;
  thread.cluster_phase = cluster.phase;
  races::release(cluster.tokens + cluster.phase % 4);
  if (++cluster.arrived < cluster.threads) return;
  cluster.arrived = 0;
  ++cluster.phase;
  for (Block* block : cluster.blocks)
    for (Thread& other : block->threads)
      if (other.state == State::Blocked && other.doing == std::string("barrier.cluster.wait")) wake(other);
}

void cluster_wait(Site site) {
  Thread& thread = self();
  if (!thread.cluster_arrived) fail(site, "barrier.cluster.wait without an arrive");
  while (thread.of->cluster->phase == thread.cluster_phase) wait_here("barrier.cluster.wait", site);
  thread.cluster_arrived = false;
  races::acquire(thread.of->cluster->tokens + thread.cluster_phase % 4);
  meet(thread);
}

uint32_t cluster_rank() { return self().of->rank; }

void mbarrier_init(uint32_t address, uint32_t count, Site site) {
  if (count == 0 || count >= 1u << 14) fail(site, "mbarrier.init: a count of %u", count);
  Mbarrier barrier{};
  barrier.magic = MAGIC;
  barrier.expected = barrier.pending = count;
  char* const at = shared_bytes(address, 8, 8, "mbarrier.init", site);
  races::write(at, 8);
  std::memcpy(at, &barrier, 8);
  Block& block = *self().of;
  block.unfenced.push_back(address);
  block.initialised[address] = {&self(), ++block.clock};
}

void mbarrier_arrive(uint32_t address, uint32_t count, uint32_t expect_bytes, Site site) {
  Block* block = nullptr;
  Mbarrier barrier = read_mbarrier(address, site, &block);
  check_met(address, site);
  if (block != self().of)
    for (const uint32_t unfenced : block->unfenced)
      if (unfenced == local_address(address)) fail(site, "mbarrier: used by another block before its init was fenced");
  order_before(barrier, address, site);
  add_bytes(barrier, expect_bytes, site);
  if (barrier.pending < count) fail(site, "mbarrier: more arrivals than its count of %u", unsigned(barrier.expected));
  barrier.pending -= count;
  write_mbarrier(address, barrier, *block, shared_bytes(address, 8, 8, "mbarrier", site));
}

// Bytes of a transfer have arrived in `block`.
void mbarrier_complete(uint32_t address, int64_t bytes, Block& block, Site site) {
  const uint32_t in_block = local_address(address) | (block.rank + 1) << 24;
  Mbarrier barrier = read_mbarrier(in_block, site);
  order_before(barrier, in_block, site);
  add_bytes(barrier, -bytes, site);
  write_mbarrier(address, barrier, block, shared_bytes(in_block, 8, 8, "mbarrier", site));
}

void mbarrier_arrive_late(uint32_t address, Block& block, Site site) {
  const uint32_t in_block = local_address(address) | (block.rank + 1) << 24;
  Mbarrier barrier = read_mbarrier(in_block, site);
  order_before(barrier, in_block, site);
  if (barrier.pending == 0) fail(site, "mbarrier: more arrivals than its count of %u", unsigned(barrier.expected));
  --barrier.pending;
  write_mbarrier(address, barrier, block, shared_bytes(in_block, 8, 8, "mbarrier", site));
}

void check_usable(uint32_t address, Site site) {
  read_mbarrier(address, site);
  check_met(address, site);
}

bool mbarrier_try_wait(uint32_t address, uint32_t parity, Site site) {
  if (phase_passed(address, parity, site)) return true;
  // It may give up at any time.
  if (random_bits() % 8 == 0) {
    wait_here("mbarrier.try_wait", site, State::Spinning);
    return false;
  }
  self().waits_on = address;
  wait_here("mbarrier.try_wait", site);
  return phase_passed(address, parity, site);
}

void mbarrier_wait(uint32_t address, uint32_t parity, Site site) {
  while (!phase_passed(address, parity, site)) {
    self().waits_on = address;
    wait_here("mbarrier wait", site);
  }
}

void fence_device() { self().fenced = true; }

void atomic_access(const void* at) {
  if (self().fenced) races::release(at);
  races::acquire(at);
}

void check_exit(Thread& thread) {
  Warp& warp = *thread.team;
  check_waited("a thread exits", thread.site);
  if (!thread.copies.idle() && thread.announced < thread.copied)
    fail(thread.site, "a thread exits with cp.async copies that it never waited for");
  if (!thread.stores.idle()) fail(thread.site, "a thread exits with TMA stores that it never waited for");
  if (!warp.wgmma.idle()) fail(thread.site, "a warp exits with wgmma in flight");
  for (int lane = 0; lane < 32; ++lane) {
    const Thread& other = warp.lanes[lane];
    if (warp.arrived >> lane & 1 && other.mask >> thread.lane & 1)
      fail(thread.site, "a lane exits while lane %d waits for it in %s at %s:%d", lane, other.doing, other.site.file,
           other.site.line);
  }
  const Barrier& block = thread.of->barriers[0];
  if (block.arrived && block.expected == int(thread.of->threads.size()))
    fail(thread.site, "a thread exits while %d threads wait in __syncthreads at %s:%d", block.arrived, block.site.file,
         block.site.line);
}

}  // namespace lowrank::emulator
