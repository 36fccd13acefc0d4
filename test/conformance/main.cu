// The conformance cases as a program, without Node: on the emulator each under several schedules, or on the GPU that is
// there.
//
// conformance [FILTER]. Exit status 1: a case failed.

#include <cstdio>
#include <cstring>

#include "core/device.h"
#include "cuda/info.h"
#include "cuda/launch.cuh"

namespace {

using lowrank::cuda::ConformanceCase;

#ifndef LOWRANK_EMULATOR
void run(const ConformanceCase& each) { each.run(); }
#else
void run(const ConformanceCase& each) {
  using namespace lowrank::emulator;
  static const Options saved = options();
  for (const Async async : {Async::Late, Async::Early, Async::Random})
    for (const Schedule schedule : {Schedule::Skewed, Schedule::Random}) {
      options().async = async;
      options().schedule = schedule;
      options().seed = saved.seed + (schedule == Schedule::Random ? 100 : 0);
      each.run();
    }
  options() = saved;
}
#endif

}  // namespace

int main(int argc, char** argv) {
  using namespace lowrank;
  std::string reason;
  if (device_count(DeviceKind::Cuda, reason) == 0) {
    std::printf("skip: %s\n0 passed, 0 failed, 1 skipped\n", reason.c_str());
    return 0;
  }
  if (cuda::backend.enter) cuda::backend.enter(0);
  int failed = 0, passed = 0, skipped = 0;
  const int generation = cuda::generation(0);
  for (const ConformanceCase& each : cuda::conformance_cases()) {
    if (argc > 1 && !std::strstr(each.name, argv[1])) continue;
    if (!each.runs_on(generation)) {
      std::printf("skip: %s needs other code than that of sm_%d\n", each.name, generation);
      ++skipped;
      continue;
    }
    try {
      run(each);
      std::printf("ok   %s\n", each.name);
      ++passed;
    } catch (const std::exception& error) {
      std::printf("FAIL %s: %s\n", each.name, error.what());
      ++failed;
    }
  }
  std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed || passed == 0;
}
