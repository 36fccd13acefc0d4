#pragma once
// What the files of the emulator share: threads, warps, blocks, and how a thread waits.
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "test/emulator/emulator.h"
#include "test/emulator/fiber.h"
#include "test/emulator/races.h"

namespace lowrank::emulator {

constexpr uint8_t POISON = 0xff;  // NaN in every float format
constexpr uint8_t CANARY = 0xc5;
constexpr size_t PAGE = 4096;

enum class State : uint8_t { Ready, Blocked, Spinning, Done };

struct Block;
struct Thread;
struct Warp;

struct Copy {
  char* to;
  const char* from;
  int bytes, valid;
  size_t number;  // of the thread's copies
  bool done;
};

enum class Kind : uint8_t { Load, Store, Arrival };

// A box of TMA; or the arrival that cp.async.mbarrier.arrive owes.
struct Transfer {
  Kind kind;
  TensorMap map;  // a copy: the issuing thread may be gone when it lands
  Coordinates at;
  uint32_t shared, barrier;
  uint16_t blocks;
  Block* block;  // the issuer's
  Site site;
  Thread* thread;  // who issued it
  bool done = false;
  size_t copies = 0;  // of an arrival: how many of the thread's copies come before
};

// Asynchronous operations of a thread in commit groups.
template <typename T>
struct Groups {
  void commit() {
    committed.push_back(std::move(open));
    open.clear();
  }
  bool idle() const {
    if (!open.empty()) return false;
    for (const auto& group : committed)
      if (!group.empty()) return false;
    return true;
  }
  void clear() {
    open.clear();
    committed.clear();
  }

  std::vector<T> open;
  std::deque<std::vector<T>> committed;
};

enum class Collective : uint8_t { None, Sync, Shuffle, Vote, Load, Store, Mma, Fence, Commit, Wait, Wgmma, Converged };

// What a thread runs on. For TSan a stack always has the same fiber, and another one for what is asynchronous.
struct Seat {
  char* stack = nullptr;
  void *race_fiber = nullptr, *race_engine = nullptr;
};

struct Thread : ThreadId, Seat {
  Fiber fiber;
  bool fenced = false;  // since __threadfence its atomics publish
  State state = State::Done;
  const char* doing = "";  // what it waits in
  Site site;
  Block* of = nullptr;
  Warp* team = nullptr;
  uint32_t waits_on = 0;  // address of an mbarrier; 0: none
  uint64_t met = 0;       // the block's clock when it last met other threads
  uint32_t cluster_phase = 0;
  bool cluster_arrived = false;
  bool waited = false;  // for the kernels ahead
  // Operands of a collective, until its last lane arrives.
  Collective collective = Collective::None;
  uint32_t mask = 0;
  void* operand = nullptr;
  Groups<Copy> copies;
  size_t copied = 0, announced = 0;  // copies so far; those that an mbarrier waits for
  Groups<std::shared_ptr<Transfer>> stores;
};

// Accumulators of a warp while wgmma owns them: 16 of the warpgroup's 64 rows.
struct Accumulator {
  float rows[16][256];
  float* registers[32];
  int n = 0, uses = 0;
};

struct WgmmaOperation {
  Wgmma what;
  float a[16][16];
  std::shared_ptr<Accumulator> accumulator;
  Site site;
  bool done = false;
};

struct Warp {
  int index = 0;
  Block* of = nullptr;
  Thread* lanes = nullptr;
  uint32_t ready = 0, spinning = 0, live = 0, arrived = 0;  // a bit a lane
  uint64_t priority = 0;
  Groups<WgmmaOperation> wgmma;
  std::map<float*, std::shared_ptr<Accumulator>> accumulators;
  bool wgmma_fenced = false;
  size_t wgmma_issued = 0;
  races::Phases syncs, waits;
};

struct Barrier {
  int expected = 0, arrived = 0;
  Site site;
  std::vector<Thread*> waiting;
  races::Phases phases;
};

struct Cluster {
  std::vector<Block*> blocks;
  int threads = 0, arrived = 0;
  uint32_t phase = 0;
  char tokens[4] = {};  // for TSan, by phase
};

struct Block {
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  int live = 0;
  uint32_t rank = 0;  // in the cluster
  Cluster* cluster = nullptr;
  char* arena = nullptr;           // shared memory
  uint32_t used = 0;               // of its dynamic part, by the block before
  std::vector<char> async_view;    // what the async proxy sees of it; empty: the same
  std::vector<uint32_t> unfenced;  // mbarriers initialised and not fenced
  uint64_t clock = 0;              // counts mbarrier.init
  std::map<uint32_t, std::pair<const Thread*, uint64_t>> initialised;  // mbarrier: who did it, and when
  Barrier barriers[16];
  std::vector<std::shared_ptr<Transfer>> in_flight;
  std::map<size_t, std::pair<size_t, int>>
      wgmma_order[8];  // per warpgroup: n-th operation, its hash, warps that did it
};

struct Runtime {
  std::vector<std::unique_ptr<Block>> blocks;  // the resident ones
  std::vector<std::unique_ptr<Cluster>> clusters;
  std::vector<Warp*> warps;
  void (*body)(void*) = nullptr;
  void* argument = nullptr;
  Fiber launcher;
  void* race_launcher = nullptr;
  char begin = 0, end = 0;  // tokens
  std::string error;
  uint64_t random = 1;
  int spins = 0;
  int early = 0;  // resident threads that have not waited for the kernels ahead, while memory is closed to them
};
extern Runtime runtime;

inline Thread& self() { return *static_cast<Thread*>(current); }
uint64_t random_bits();
inline bool at_once() {
  return options().async == Async::Early || (options().async == Async::Random && random_bits() % 2);
}

// Leaves the calling thread until wake(); reports a deadlock where nothing else can run.
void wait_here(const char* doing, Site site, State state = State::Blocked);
void wake(Thread& thread);

// ---- overlap.cpp
// Of the first blocks of a launch that overlaps others: no device memory until all have waited for those.
void begin_overlap();
void end_overlap();
// Fails where this thread has not waited yet.
void check_waited(const char* what, Site site);

// What a fiber runs: the kernel, and then whoever comes next.
void thread_main();

// ---- blocks.cpp
// As many blocks as are resident, reused from launch to launch where the shape is the same.
void open_blocks(size_t count, size_t threads);
// `stopped`: their threads were left where they were.
void close_blocks(bool stopped = false);
void start_block(Block& block, uint3 index, uint32_t rank, Cluster& cluster);
// After a fault: what the threads did comes before what the launcher does next, such as to free their arguments.
void join_threads();

// ---- memory.cpp
// The bytes of a shared address, checked: `block` receives the block it lies in.
char* shared_bytes(uint32_t address, size_t bytes, size_t alignment, const char* what, Site site,
                   Block** block = nullptr);
// The same bytes as the async proxy sees them.
const char* async_bytes(const Block& block, const char* in_arena);
// A write by the async proxy, seen by both.
void async_write(Block& block, char* in_arena, const void* from, size_t bytes);
void open_arena(Block& block);
void fill_arena(Block& block);
void check_arena(const Block& block);
void close_arena(Block& block);
void reset_static_shared();

// ---- copy.cpp
// Lands one transfer in flight. Unless forced, only where the mode says so.
bool land_transfer(bool force);
// ---- wgmma.cpp
void check_wgmma(const Block& block);
// ---- barrier.cpp
void check_exit(Thread& thread);
void mbarrier_complete(uint32_t address, int64_t bytes, Block& block, Site site);
// The same for the copies of one thread, which arrives by them; and whether that thread may use the barrier.
void mbarrier_arrive_late(uint32_t address, Block& block, Site site);
void check_usable(uint32_t address, Site site);

uint32_t swizzled(uint32_t address, uint32_t span);

inline float bf16_value(uint32_t bits) {
  const uint32_t u = bits << 16;
  float x;
  std::memcpy(&x, &u, 4);
  return x;
}
float f16_value(uint32_t bits);
inline float value_of(Element element, uint32_t bits) {
  return element == Element::BF16 ? bf16_value(bits & 0xffff) : f16_value(bits & 0xffff);
}

// Waits for all lanes of `mask` to come here; the last one computes for all: act(Warp&).
template <typename F>
void collective(Collective kind, uint32_t mask, void* operand, const char* name, bool aligned, Site site, F&& act) {
  Thread& thread = self();
  Warp& warp = *thread.team;
  if (!(mask >> thread.lane & 1)) fail(site, "%s: the calling lane is not in mask 0x%08x", name, mask);
  if (mask & ~warp.live)
    fail(site, "%s: mask 0x%08x names lanes that have exited or never were (live: 0x%08x)", name, mask, warp.live);
  thread.collective = kind;
  thread.mask = mask;
  thread.operand = operand;
  thread.site = site;
  warp.arrived |= 1u << thread.lane;
  if ((warp.arrived & mask) != mask) return wait_here(name, site);
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const Thread& other = warp.lanes[lane];
    if (other.collective != kind || other.mask != mask)
      fail(site, "%s: the warp has diverged, lane %d is in %s (mask 0x%08x) at %s:%d", name, lane, other.doing,
           other.mask, other.site.file, other.site.line);
    if (aligned && other.site.line != site.line)
      fail(site, "%s is .aligned: lane %d is at %s:%d", name, lane, other.site.file, other.site.line);
  }
  act(warp);
  warp.arrived &= ~mask;
  for (int lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1 && lane != thread.lane) wake(warp.lanes[lane]);
}

}  // namespace lowrank::emulator
