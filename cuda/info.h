#pragma once
#include <cstddef>
#include <string>
#include <vector>

// What `lowrank doctor` asks of CUDA. No CUDA header is needed to read this one.
namespace lowrank::cuda {

struct DeviceInfo {
  std::string name;
  std::string capability;  // compute capability, "9.0"
  size_t memory = 0;       // bytes
};

struct Info {
  int count = 0;       // devices
  int driver = 0;      // newest CUDA the driver serves, 1000 * major + 10 * minor; 0: no driver
  int runtime = 0;     // CUDA this build was made with, spelled likewise
  std::string reason;  // why count is 0
  std::vector<DeviceInfo> devices;
};

// Never throws, and needs no driver.
Info info();

// What the conformance cases' code was compiled for, as that device runs it: 10 * major + minor, or 909 for sm_90a.
int generation(int device);

// An instruction, or a function of CUDA, against a scalar definition (cuda/conformance/).
struct ConformanceCase {
  const char* name;
  int needs;      // the generation that its code has to be compiled for, or a later one; 909: sm_90a and no other
  void (*run)();  // on the thread of a device's queue; throws where a result is wrong

  bool runs_on(int generation) const {
    return needs == 909 ? generation == 909 : (generation == 909 ? 90 : generation) >= needs;
  }
};
const std::vector<ConformanceCase>& conformance_cases();

}  // namespace lowrank::cuda
