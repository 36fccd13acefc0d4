// The blocks that are resident, and what their threads run on.

#include <sys/mman.h>

#include "test/emulator/runtime.h"

namespace lowrank::emulator {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr size_t STACK = 256 << 10;
#else
constexpr size_t STACK = 64 << 10;
#endif

// Seats of threads that are no more, for those to come: launches of differing shapes take turns.
std::vector<Seat> free_seats;

Seat take_seat() {
  if (!free_seats.empty()) {
    const Seat seat = free_seats.back();
    free_seats.pop_back();
    return seat;
  }
  void* memory = mmap(nullptr, STACK + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(memory != MAP_FAILED, Code::Memory, "emulator: no memory for a thread's stack");
  mprotect(memory, PAGE, PROT_NONE);
  return {static_cast<char*>(memory) + PAGE, races::new_fiber(), nullptr};
}

void destroy(const Seat& seat) {
  forget_stack(seat.stack, STACK);
  munmap(seat.stack - PAGE, STACK + PAGE);
  races::end(seat.race_fiber);
  races::end(seat.race_engine);
}

void start_thread(Block& block, int i, uint3 block_index) {
  const dim3 shape = launched.block;
  Thread& thread = block.threads[size_t(i)];
  const unsigned at = unsigned(i);
  thread.thread = {at % shape.x, at / shape.x % shape.y, at / shape.x / shape.y};
  thread.block = block_index;
  thread.lane = i % 32;
  thread.warp = i / 32;
  thread.of = &block;
  thread.team = &block.warps[size_t(i / 32)];
  thread.state = State::Ready;
  thread.doing = "start";
  thread.site = {};
  thread.waits_on = 0;
  thread.met = 0;
  thread.cluster_arrived = false;
  thread.waited = false;
  thread.copies.clear();
  thread.copied = thread.announced = 0;
  thread.fenced = false;
  thread.stores.clear();
  if (!thread.stack) static_cast<Seat&>(thread) = take_seat();
  prepare(thread.fiber, thread.stack, STACK, thread_main);
  Warp& warp = *thread.team;
  warp.ready |= 1u << thread.lane;
  warp.live |= 1u << thread.lane;
}

// To TSan the same thread of the next block must not look like the thread that went before.
void exchange_stacks(Block& block) {
  const size_t count = block.threads.size();
  for (size_t i = count; i-- > 1;) {
    Seat &a = block.threads[i], &b = block.threads[random_bits() % (i + 1)];
    std::swap(a, b);
  }
}

}  // namespace

void start_block(Block& block, uint3 index, uint32_t rank, Cluster& cluster) {
  const int threads = int(block.threads.size());
  block.warps.clear();
  block.warps.resize(size_t(threads + 31) / 32);
  for (size_t i = 0; i < block.warps.size(); ++i) {
    Warp& warp = block.warps[i];
    warp.index = int(i);
    warp.of = &block;
    warp.lanes = &block.threads[i * 32];
    warp.priority = random_bits();
    runtime.warps.push_back(&warp);
  }
  block.live = threads;
  block.rank = rank;
  block.cluster = &cluster;
  cluster.blocks.push_back(&block);
  cluster.threads += threads;
  block.unfenced.clear();
  block.clock = 0;
  block.initialised.clear();
  block.in_flight.clear();
  for (Barrier& barrier : block.barriers) barrier = {};
  for (auto& order : block.wgmma_order) order.clear();
  fill_arena(block);
  if (races::ON) exchange_stacks(block);
  for (int i = 0; i < threads; ++i) start_thread(block, i, index);
}

void close_blocks(bool stopped) {
  for (const auto& block : runtime.blocks) {
    for (const Thread& thread : block->threads) {
      if (!thread.stack) continue;
      if (stopped) destroy(thread);
      else free_seats.push_back(thread);
    }
    close_arena(*block);
  }
  runtime.blocks.clear();
}

void join_threads() {
  for (const auto& block : runtime.blocks)
    for (const Thread& thread : block->threads) {
      if (!thread.race_fiber) continue;
      races::enter(thread.race_fiber);
      races::release(&runtime.end);
    }
  races::enter(runtime.race_launcher);
  races::acquire(&runtime.end);
}

void open_blocks(size_t count, size_t threads) {
  if (runtime.blocks.size() != count || runtime.blocks[0]->threads.size() != threads) {
    close_blocks();
    for (size_t i = 0; i < count; ++i) {
      runtime.blocks.push_back(std::make_unique<Block>());
      runtime.blocks.back()->threads.resize(threads);
    }
  }
  for (const auto& block : runtime.blocks) open_arena(*block);
}

}  // namespace lowrank::emulator
