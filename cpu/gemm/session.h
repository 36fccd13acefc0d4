#pragma once
#include "cpu/gemm/kernel.h"

namespace lowrank::cpu::gemm {

// Tiles run while one lives in their thread.
class Session {
 public:
  explicit Session(const Kernel& kernel) : kernel(kernel) {
    if (kernel.begin) kernel.begin();
  }
  ~Session() {
    if (kernel.end) kernel.end();
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

 private:
  const Kernel& kernel;
};

}  // namespace lowrank::cpu::gemm
