#pragma once
#include <cstddef>
#include <string>
#include <vector>

// What `lowrank doctor` says about CUDA. No CUDA header is needed to read this one.
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

}  // namespace lowrank::cuda
