#pragma once
#include <cstddef>
#include <string>
#include <vector>

// What `lowrank doctor` says about CUDA. No CUDA header is needed to read this one.
namespace lowrank {

struct CudaDevice {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  size_t memory = 0;         // bytes
};

struct CudaInfo {
  int count = 0;       // devices that this build can use
  int driver = 0;      // newest CUDA the driver serves, 1000 * major + 10 * minor; 0: no driver
  int runtime = 0;     // CUDA this build was made with, spelled likewise
  std::string reason;  // why count is 0
  std::vector<CudaDevice> devices;
};

// Never throws, and needs no driver.
CudaInfo cuda_info();

}  // namespace lowrank
