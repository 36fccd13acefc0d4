// Blocks, warps and the order in which their threads run.

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "test/emulator/runtime.h"

namespace lowrank::emulator {

ThreadId* current;
Grid launched;
Counters counters;
Runtime runtime;

namespace {

// A number of names: which of them an environment variable holds.
int choice(const char* variable, std::initializer_list<const char*> names, int otherwise) {
  const char* text = std::getenv(variable);
  if (!text || !*text) return otherwise;
  int i = 0;
  for (const char* name : names) {
    if (!std::strcmp(text, name)) return i;
    ++i;
  }
  throw Error(Code::Option, std::string(variable) + ": \"" + text + "\" is unknown");
}

Options options_of_environment() {
  Options options;
  const char* seed = std::getenv("LOWRANK_EMU_SEED");
  const char* resident = std::getenv("LOWRANK_EMU_RESIDENT");
  if (seed && *seed) options.seed = std::strtoull(seed, nullptr, 10);
  if (resident && *resident) options.resident = std::atoi(resident);
  options.schedule = Schedule(choice("LOWRANK_EMU_SCHEDULE", {"forward", "backward", "skewed", "random"}, 2));
  options.async = Async(choice("LOWRANK_EMU_ASYNC", {"late", "early", "random"}, 0));
  options.proxy = choice("LOWRANK_EMU_PROXY", {"0", "1"}, 1) == 1;
  constexpr int GENERATIONS[] = {80, 90, 909};
  options.generation = GENERATIONS[choice("LOWRANK_EMU_GENERATION", {"80", "90", "90a"}, 2)];
  return options;
}

// Where every living thread waits: the report of a deadlock.
std::string waiting_threads() {
  std::map<std::string, std::pair<int, std::string>> places;
  for (const auto& block : runtime.blocks)
    for (const Thread& thread : block->threads) {
      if (thread.state == State::Done) continue;
      char place[300], who[100];
      std::snprintf(place, sizeof place, "%s at %s:%d", thread.doing, thread.site.file ? thread.site.file : "?",
                    thread.site.line);
      std::snprintf(who, sizeof who, "block (%u,%u,%u) thread (%u,%u,%u)", thread.block.x, thread.block.y,
                    thread.block.z, thread.thread.x, thread.thread.y, thread.thread.z);
      auto& [count, first] = places[place];
      if (count++ == 0) first = who;
    }
  std::string text;
  for (const auto& [place, found] : places)
    text += "\n  " + std::to_string(found.first) + " in " + place + ", first " + found.second;
  return text;
}

Warp* pick_warp() {
  const auto& warps = runtime.warps;
  const size_t count = warps.size();
  switch (options().schedule) {
    case Schedule::Forward:
      for (Warp* warp : warps)
        if (warp->ready) return warp;
      return nullptr;
    case Schedule::Backward:
      for (size_t i = count; i--;)
        if (warps[i]->ready) return warps[i];
      return nullptr;
    case Schedule::Random:
      for (size_t i = 0, start = random_bits() % count; i < count; ++i)
        if (Warp* warp = warps[(start + i) % count]; warp->ready) return warp;
      return nullptr;
    case Schedule::Skewed: break;
  }
  if (random_bits() % 128 == 0) warps[random_bits() % count]->priority = random_bits();
  Warp* best = nullptr;
  for (Warp* warp : warps)
    if (warp->ready && (!best || warp->priority > best->priority)) best = warp;
  return best;
}

Thread* pick_lane(Warp& warp) {
  if (options().schedule == Schedule::Forward) return warp.lanes + __builtin_ctz(warp.ready);
  if (options().schedule == Schedule::Backward) return warp.lanes + (31 - __builtin_clz(warp.ready));
  const int start = int(random_bits() % 32);
  const uint32_t rotated = warp.ready >> start | (start ? warp.ready << (32 - start) : 0);
  return warp.lanes + (__builtin_ctz(rotated) + start) % 32;
}

// The thread that runs next. null: none can.
Thread* pick() {
  for (;;) {
    if (options().async == Async::Random)
      while (land_transfer(false)) continue;
    if (Warp* warp = pick_warp()) return pick_lane(*warp);
    if (land_transfer(true)) continue;
    bool any = false;
    for (Warp* warp : runtime.warps) {
      for (int lane = 0; lane < 32; ++lane)
        if (warp->spinning >> lane & 1) warp->lanes[lane].state = State::Ready;
      any |= warp->spinning != 0;
      warp->ready |= warp->spinning;
      warp->spinning = 0;
    }
    if (!any || ++runtime.spins > 2000) return nullptr;
  }
}

void go(Thread& to) {
  Thread& from = self();
  if (&to == &from) return;
  ++counters.switches;
  current = &to;
  races::enter(to.race_fiber);
  switch_fiber(from.fiber, to.fiber);
}

[[noreturn]] void back_to_launcher() {
  Thread& thread = self();
  current = nullptr;
  races::enter(runtime.race_launcher);
  switch_fiber(thread.fiber, runtime.launcher);
  std::abort();
}

void leave_warp(Thread& thread, State state) {
  thread.state = state;
  thread.team->ready &= ~(1u << thread.lane);
}

}  // namespace

// The first and the last of a thread.
void thread_main() {
  races::acquire(&runtime.begin);
  runtime.body(runtime.argument);
  races::release(&runtime.end);
  Thread& thread = self();
  check_exit(thread);
  leave_warp(thread, State::Done);
  thread.team->live &= ~(1u << thread.lane);
  runtime.spins = 0;
  // Nobody may read the shared memory of a block that has ended.
  if (--thread.of->live == 0 && thread.of->cluster->blocks.size() > 1)
    std::memset(thread.of->arena, POISON, launched.shared);
  for (const auto& block : runtime.blocks) {
    if (block->live == 0) continue;
    Thread* next = pick();
    if (!next) fail(thread.site, "deadlock, after a thread exited: no thread can go on%s", waiting_threads().c_str());
    go(*next);
  }
  back_to_launcher();
}

namespace {

// Starts the blocks of one cluster in the resident slots from `slot` on.
void start_cluster(size_t slot, uint64_t index) {
  const dim3 grid = launched.grid, cluster = launched.cluster;
  const uint64_t nx = grid.x / cluster.x, ny = grid.y / cluster.y;
  const unsigned x = unsigned(index % nx) * cluster.x, y = unsigned(index / nx % ny) * cluster.y;
  const unsigned z = unsigned(index / nx / ny) * cluster.z;
  runtime.clusters.push_back(std::make_unique<Cluster>());
  uint32_t rank = 0;
  for (unsigned dz = 0; dz < cluster.z; ++dz)
    for (unsigned dy = 0; dy < cluster.y; ++dy)
      for (unsigned dx = 0; dx < cluster.x; ++dx, ++rank)
        start_block(*runtime.blocks[slot + rank], {x + dx, y + dy, z + dz}, rank, *runtime.clusters.back());
}

void run_wave(const std::vector<uint64_t>& order, size_t begin, size_t count, size_t cluster_size) {
  runtime.warps.clear();
  runtime.clusters.clear();
  runtime.spins = 0;
  for (const auto& block : runtime.blocks) {
    block->live = 0;
    block->in_flight.clear();
    for (Thread& thread : block->threads) thread.state = State::Done;
  }
  for (size_t i = 0; i < count; ++i) start_cluster(i * cluster_size, order[begin + i]);
  if (launched.overlaps && begin == 0) begin_overlap();
  Thread* first = pick();
  current = first;
  races::release(&runtime.begin);
  races::enter(first->race_fiber);
  switch_fiber(runtime.launcher, first->fiber);
  current = nullptr;
  end_overlap();
  if (!runtime.error.empty()) {
    const std::string error = std::move(runtime.error);
    runtime.error.clear();
    join_threads();
    close_blocks(true);
    throw Error(Code::Cuda, error);
  }
  for (const auto& block : runtime.blocks) {
    for (const auto& transfer : block->in_flight)
      check(transfer->done, Code::Cuda, "emulator: a block ended while its loads were in flight");
    check_wgmma(*block);
    check_arena(*block);
  }
}

void check_launch(const Grid& grid) {
  const uint64_t threads = uint64_t(grid.block.x) * grid.block.y * grid.block.z;
  check(threads >= 1 && threads <= 1024, Code::Cuda, "launch: ", threads, " threads a block; 1 to 1024 are allowed");
  check(grid.shared <= (227u << 10), Code::Cuda, "launch: ", grid.shared,
        " bytes of shared memory; the limit is 227 KB");
  check(grid.grid.y <= 65535 && grid.grid.z <= 65535 && grid.grid.x <= 0x7fffffff, Code::Cuda, "launch: grid (",
        grid.grid.x, ",", grid.grid.y, ",", grid.grid.z, ") is too large");
  const uint64_t cluster = uint64_t(grid.cluster.x) * grid.cluster.y * grid.cluster.z;
  check(cluster >= 1 && cluster <= 8, Code::Cuda, "launch: a cluster of ", cluster, " blocks; 1 to 8 are portable");
  check(grid.grid.x % grid.cluster.x == 0 && grid.grid.y % grid.cluster.y == 0 && grid.grid.z % grid.cluster.z == 0,
        Code::Cuda, "launch: the grid is no multiple of the cluster");
}

}  // namespace

Options& options() {
  static Options options = options_of_environment();
  return options;
}

uint64_t random_bits() {
  uint64_t x = runtime.random += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

void need_generation(int generation) {
  const int own = options().generation;
  if (own == 909 || (generation != 909 && own >= generation)) return;
  fail({}, "a trap: an instruction of sm_%s in code for sm_%d", generation == 909 ? "90a" : "90", own);
}

void fail(Site site, const char* format, ...) {
  char text[4096];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (!current) throw Error(Code::Cuda, text);
  char where[400];
  std::snprintf(where, sizeof where, "\n  by block (%u,%u,%u) thread (%u,%u,%u), warp %d lane %d, at %s:%d",
                current->block.x, current->block.y, current->block.z, current->thread.x, current->thread.y,
                current->thread.z, current->warp, current->lane, site.file ? site.file : "?", site.line);
  runtime.error = std::string(text) + where;
  back_to_launcher();
}

void wake(Thread& thread) {
  thread.state = State::Ready;
  thread.team->ready |= 1u << thread.lane;
  runtime.spins = 0;
}

void wait_here(const char* doing, Site site, State state) {
  Thread& thread = self();
  leave_warp(thread, state);
  if (state == State::Spinning) thread.team->spinning |= 1u << thread.lane;
  thread.doing = doing;
  thread.site = site;
  Thread* next = pick();
  if (!next) fail(site, "deadlock: no thread can go on%s", waiting_threads().c_str());
  go(*next);
}

void yield(Site site) { wait_here("a spin loop", site, State::Spinning); }

// One launch at a time: the queues of several devices or Node environments take turns.
void run(const Grid& grid, void (*body)(void*), void* argument) {
  static std::mutex launches;
  const std::lock_guard lock(launches);
  check_launch(grid);
  const uint64_t blocks = uint64_t(grid.grid.x) * grid.grid.y * grid.grid.z;
  if (blocks == 0) return;
  const size_t cluster_size = size_t(grid.cluster.x) * grid.cluster.y * grid.cluster.z;
  const size_t clusters = blocks / cluster_size;
  const size_t resident = std::min<size_t>(clusters, size_t(std::max(1, options().resident)));
  launched = grid;
  runtime.random = options().seed;
  runtime.body = body, runtime.argument = argument;
  runtime.race_launcher = races::this_fiber();
  reset_static_shared();
  open_blocks(resident * cluster_size, size_t(grid.block.x) * grid.block.y * grid.block.z);
  std::vector<uint64_t> order(clusters);
  for (size_t i = 0; i < clusters; ++i) order[i] = i;
  if (options().schedule != Schedule::Forward)
    for (size_t i = clusters; i-- > 1;) std::swap(order[i], order[random_bits() % (i + 1)]);
  for (size_t i = 0; i < clusters; i += resident) run_wave(order, i, std::min(resident, clusters - i), cluster_size);
  races::acquire(&runtime.end);
  check_guards();
}

double seconds() {
  const std::chrono::duration<double> now = std::chrono::steady_clock::now().time_since_epoch();
  return now.count();
}

}  // namespace lowrank::emulator
