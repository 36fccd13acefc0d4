// Self-test of the emulator: correct kernels pass under every schedule, injected defects are noticed under the default
// one with every seed. Each run has a process of its own, since a defect may end it. `defects [FILTER] [--shard I/N]`.

#include <sys/wait.h>
#include <unistd.h>

#include "cuda/conformance/case.cuh"
#include "test/emulator/defects/defects.h"

namespace lowrank::cuda {

cudaStream_t stream() { return nullptr; }
void note_launch(const void*, const Launch&) {}
bool is_measuring() { return false; }
void count_launch() {}
void allow_shared(const void*, size_t) {}
bool overlaps_kernels() { return true; }

void check_cuda(cudaError_t error, const char* call) {
  check(error == cudaSuccess, Code::Cuda, call, ": ", cudaGetErrorString(error));
}

}  // namespace lowrank::cuda

namespace {

using namespace lowrank::emulator;

struct Named {
  Defect defect;
  const char *name, *text;
};

#define LOWRANK_DEFECT(name, text) {Defect::name, #name, text},
constexpr Named DEFECTS[] = {LOWRANK_DEFECTS(LOWRANK_DEFECT)};
#undef LOWRANK_DEFECT

// Blocks run one after the other and memory is sequentially consistent, so these two are out of sight. To
// ThreadSanitizer an addition that is not atomic is not. See docs/emulator.md.
#ifdef LOWRANK_EMU_RACES
constexpr Defect KNOWN_MISSES[] = {Defect::SumNoFence};
constexpr int ENOUGH = 1;  // of three seeds: TSan forgets all but the last few accesses to a place
#else
constexpr Defect KNOWN_MISSES[] = {Defect::SumNotAtomic, Defect::SumNoFence};
constexpr int ENOUGH = 3;
#endif
constexpr int RACE = 66;  // exit status of TSan

struct Kernel {
  const char* prefix;
  void (*run)(Defect);
};
constexpr Kernel KERNELS[] = {{"Mma", run_mma},   {"Ring", run_ring}, {"Copies", run_copies},
                              {"Norm", run_norm}, {"Sum", run_sum},   {"Attention", run_attention}};

const Kernel& kernel_of(const Named& defect) {
  for (const Kernel& kernel : KERNELS)
    if (!std::strncmp(defect.name, kernel.prefix, std::strlen(kernel.prefix))) return kernel;
  throw std::runtime_error("no kernel");
}

bool is_known_miss(Defect defect) {
  for (const Defect miss : KNOWN_MISSES)
    if (miss == defect) return true;
  return false;
}

// What a run in its own process said; empty where it found nothing wrong.
std::string verdict(const Kernel& kernel, Defect defect, uint64_t seed) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe");
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    options().seed = seed;
    std::string text;
    try {
      kernel.run(defect);
    } catch (const std::exception& error) {
      text = error.what();
    }
    const ssize_t written = write(ends[1], text.data(), std::min<size_t>(text.size(), 4096));
    _exit(written == ssize_t(std::min<size_t>(text.size(), 4096)) ? 0 : 1);
  }
  close(ends[1]);
  std::string text;
  char part[512];
  for (ssize_t n; (n = read(ends[0], part, sizeof part)) > 0;) text.append(part, size_t(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == RACE) return "ThreadSanitizer reports a race";
  if (WIFSIGNALED(status)) return "ended by signal " + std::to_string(WTERMSIG(status));
  return text;
}

// Correct kernels, in this process.
int test_sound(const Kernel& kernel) {
  const Options saved = options();
  int failed = 0;
  for (const Async async : {Async::Late, Async::Early, Async::Random})
    for (const Schedule schedule : {Schedule::Forward, Schedule::Backward, Schedule::Skewed, Schedule::Random})
      for (const int resident : {1, 2}) {
        options() = {saved.seed + uint64_t(resident) * 10, schedule, async, true, saved.generation, resident};
        try {
          kernel.run(Defect::None);
        } catch (const std::exception& error) {
          std::printf("FAIL %s without a defect, schedule %d, async %d, resident %d: %s\n", kernel.prefix,
                      int(schedule), int(async), resident, error.what());
          ++failed;
        }
      }
  options() = saved;
  if (!failed) std::printf("ok   %s without a defect, under every schedule\n", kernel.prefix);
  return failed;
}

int test_defect(const Named& defect) {
  const bool known = is_known_miss(defect.defect);
  int noticed = 0;
  std::string text;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const std::string found = verdict(kernel_of(defect), defect.defect, options().seed + seed - 1);
    noticed += !found.empty();
    if (text.empty()) text = found.substr(0, found.find('\n'));
  }
  if (known) {
    const bool missed = noticed == 0;
    std::printf("%s %s: %s: %s\n", missed ? "miss" : "FAIL", defect.name, defect.text,
                missed ? "a known miss" : "is noticed now, and no longer a known miss");
    return !missed;
  }
  std::printf("%s %s: %s: %d of 3: %s\n", noticed >= ENOUGH ? "ok  " : "FAIL", defect.name, defect.text, noticed,
              text.c_str());
  return noticed < ENOUGH;
}

}  // namespace

int main(int argc, char** argv) {
  const char* filter = "";
  size_t shard = 1, shards = 1, number = 0;  // test number n belongs to shard n mod shards + 1
  for (int i = 1; i < argc; ++i)
    if (!std::strcmp(argv[i], "--shard") && i + 1 < argc) std::sscanf(argv[++i], "%zu/%zu", &shard, &shards);
    else filter = argv[i];
  const auto chosen = [&](const char* name) { return std::strstr(name, filter) && number++ % shards == shard - 1; };
  int failed = 0, sound = 0, caught = 0, missed = 0;
  // First what forks: TSan makes nothing of the child of a process that has fibers.
  for (const Named& defect : DEFECTS) {
    if (!chosen(defect.name)) continue;
    const bool wrong = test_defect(defect) != 0;
    const bool known = is_known_miss(defect.defect);
    failed += wrong;
    (known ? missed : caught) += !wrong;
  }
  for (const Kernel& kernel : KERNELS) {
    if (!chosen(kernel.prefix)) continue;
    const int faults = test_sound(kernel);
    failed += faults;
    sound += faults == 0;
  }
  std::printf("%d kernels sound, %d defects caught, %d known misses, %d failed\n", sound, caught, missed, failed);
  return failed || sound + caught + missed == 0;
}
