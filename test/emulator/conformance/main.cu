// Runs every conformance case: on the emulator under several schedules, or on the GPU that is there.
//
// conformance [FILTER]. Exit status 1: a case failed.

#include "test/emulator/harness.cuh"

namespace lowrank::cuda {

cudaStream_t stream() { return nullptr; }
void note_launch(const void*, const Launch&) {}

void check_cuda(cudaError_t error, const char* call) {
  check(error == cudaSuccess, Code::Cuda, call, ": ", cudaGetErrorString(error));
}

}  // namespace lowrank::cuda

namespace {

using lowrank::testing::Case;

#ifdef __CUDACC__
int capability() {
  int major = 0, minor = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0);
  return major * 10 + minor;
}

void run(const Case& test) { test.body(); }
#else
int capability() { return 90; }

void run(const Case& test) {
  using namespace lowrank::emulator;
  const Options saved = options();
  for (const Async async : {Async::Late, Async::Early, Async::Random})
    for (const Schedule schedule : {Schedule::Skewed, Schedule::Random}) {
      options().async = async;
      options().schedule = schedule;
      options().seed = saved.seed + (schedule == Schedule::Random ? 100 : 0);
      test.body();
    }
  options() = saved;
}
#endif

// 909 stands for sm_90a: Hopper and nothing later.
bool runs_here(const Case& test, int device) {
  return test.capability == 909 ? device == 90 : device >= test.capability;
}

}  // namespace

int main(int argc, char** argv) {
  int failed = 0, passed = 0, skipped = 0;
  const int device = capability();
  for (const Case& test : lowrank::testing::cases()) {
    if (argc > 1 && !std::strstr(test.name, argv[1])) continue;
    if (!runs_here(test, device)) {
      std::printf("skip: %s needs another GPU than sm_%d\n", test.name, device);
      ++skipped;
      continue;
    }
    try {
      run(test);
      std::printf("ok   %s\n", test.name);
      ++passed;
    } catch (const std::exception& error) {
      std::printf("FAIL %s: %s\n", test.name, error.what());
      ++failed;
    }
  }
  std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed || passed == 0;
}
