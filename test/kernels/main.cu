// Every kernel against the CPU's f64 template:
// kernel_cases [FILTER] [--seeds N] [--first SEED] [--repeat N] [--shard I/N] [--list]
// --repeat runs each case that often, and what it reads back must have the same bits; on the emulator each run has
// another schedule.
#include <unistd.h>

#include <chrono>
#include <csignal>

#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

struct Settings {
  const char* filter = "";
  uint64_t seeds = 3, first = 1, repeat = 1;
  size_t shard = 1, shards = 1;  // case number c belongs to shard c mod shards + 1
  bool list = false;
};

Settings settings_of(int count, char** arguments) {
  Settings s;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (argument == "--seeds" && i + 1 < count) s.seeds = std::strtoull(arguments[++i], nullptr, 10);
    else if (argument == "--first" && i + 1 < count) s.first = std::strtoull(arguments[++i], nullptr, 10);
    else if (argument == "--shard" && i + 1 < count) std::sscanf(arguments[++i], "%zu/%zu", &s.shard, &s.shards);
    else if (argument == "--repeat" && i + 1 < count) s.repeat = std::strtoull(arguments[++i], nullptr, 10);
    else if (argument == "--list") s.list = true;
    else s.filter = arguments[i];
  }
  return s;
}

// A kernel that meets a guard page of the emulator ends the process: say whose it was.
char running[200];
void report_crash(int signal) {
  const ssize_t written = write(STDOUT_FILENO, running, std::strlen(running));
  std::signal(signal, SIG_DFL);
  std::raise(written < 0 ? SIGABRT : signal);
}

// Another order of threads and of copies, where the emulator chooses them.
void next_schedule() {
#ifdef LOWRANK_EMULATOR
  emulator::Options& options = emulator::options();
  ++options.seed;
  const bool random = options.schedule == emulator::Schedule::Random;
  options.schedule = random ? emulator::Schedule::Skewed : emulator::Schedule::Random;
  options.async = random ? emulator::Async::Late : emulator::Async::Random;
#endif
}

void run_body(const KernelCase& each, uint64_t seed) {
  Fuzz fuzz;
  fuzz.seed = seed;
  fuzz.state ^= seed * 0x9E3779B97F4A7C15ull;
  each.body(fuzz);
  if (cuda::backend.finish) cuda::backend.finish(0);
}

// One case under one seed; whether it passed.
bool run_case(const KernelCase& each, uint64_t seed, uint64_t repeat, bool hopper) {
  cuda::allow_hopper(hopper);
  std::snprintf(running, sizeof running, "FAIL %s, seed %llu%s: it touches memory that is nobody's\n", each.name,
                (unsigned long long)seed, hopper ? "" : ", portable");
  try {
    uint64_t first = 0;
    for (uint64_t i = 0; i < repeat; ++i) {
      digest() = 0;
      run_body(each, seed);
      if (i == 0) first = digest();
      expect(digest() == first, "run " + std::to_string(i + 1) + " has other bits than run 1");
      if (repeat > 1) next_schedule();
    }
    return true;
  } catch (const std::exception& error) {
    std::printf("FAIL %s, seed %llu%s: %s\n", each.name, (unsigned long long)seed, hopper ? "" : ", portable",
                error.what());
    return false;
  }
}

int run_all(const Settings& settings) {
  int passed = 0, failed = 0;
  cuda::allow_hopper(true);
  const bool both = cuda::hopper();
  size_t number = 0;
  for (const KernelCase& each : kernel_cases()) {
    if (!std::strstr(each.name, settings.filter)) continue;
    if (number++ % settings.shards != settings.shard - 1) continue;
    if (settings.list) {
      std::printf("%s\n", each.name);
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    bool ok = true;
    for (uint64_t seed = settings.first; seed < settings.first + settings.seeds; ++seed) {
      if (both) ok = run_case(each, seed, settings.repeat, true) && ok;
      ok = run_case(each, seed, settings.repeat, false) && ok;
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("%s %s  %.2f s\n", ok ? "ok  " : "FAIL", each.name, seconds.count());
    std::fflush(stdout);
    ++(ok ? passed : failed);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed ? 1 : 0;
}

}  // namespace
}  // namespace lowrank::testing

int main(int count, char** arguments) {
  using namespace lowrank;
#ifndef __SANITIZE_ADDRESS__  // which reports better
  std::signal(SIGSEGV, testing::report_crash);
  std::signal(SIGBUS, testing::report_crash);
#endif
  std::string reason;
  if (device_count(DeviceKind::Cuda, reason) == 0) {
    std::printf("skip: %s\n", reason.c_str());
    return 0;
  }
  if (cuda::backend.enter) cuda::backend.enter(0);
  return testing::run_all(testing::settings_of(count, arguments));
}
