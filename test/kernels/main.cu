// kernel_cases [FILTER] [--seeds N] [--first SEED] [--list]: every kernel against the CPU's f64 template.
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

struct Settings {
  const char* filter = "";
  uint64_t seeds = 3, first = 1;
  bool list = false;
};

Settings settings_of(int count, char** arguments) {
  Settings s;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (argument == "--seeds" && i + 1 < count) s.seeds = std::strtoull(arguments[++i], nullptr, 10);
    else if (argument == "--first" && i + 1 < count) s.first = std::strtoull(arguments[++i], nullptr, 10);
    else if (argument == "--list") s.list = true;
    else s.filter = arguments[i];
  }
  return s;
}

// One case under one seed; whether it passed.
bool run_case(const KernelCase& each, uint64_t seed, bool hopper) {
  cuda::allow_hopper(hopper);
  Fuzz fuzz;
  fuzz.seed = seed;
  fuzz.state ^= seed * 0x9E3779B97F4A7C15ull;
  try {
    each.body(fuzz);
    if (cuda::backend.finish) cuda::backend.finish(0);
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
  for (const KernelCase& each : kernel_cases()) {
    if (!std::strstr(each.name, settings.filter)) continue;
    if (settings.list) {
      std::printf("%s\n", each.name);
      continue;
    }
    bool ok = true;
    for (uint64_t seed = settings.first; seed < settings.first + settings.seeds; ++seed) {
      if (both) ok = run_case(each, seed, true) && ok;
      ok = run_case(each, seed, false) && ok;
    }
    std::printf("%s %s\n", ok ? "ok  " : "FAIL", each.name);
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
  std::string reason;
  if (device_count(DeviceKind::Cuda, reason) == 0) {
    std::printf("skip: %s\n", reason.c_str());
    return 0;
  }
  if (cuda::backend.enter) cuda::backend.enter(0);
  return testing::run_all(testing::settings_of(count, arguments));
}
