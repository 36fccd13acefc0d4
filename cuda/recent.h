#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

// The launches of a queue that came last: faults of a GPU arrive late, at whatever waits next.
namespace lowrank::cuda {

class Recent {
 public:
  struct Launch {
    const char* op = "";
    const void* kernel = nullptr;
    uint32_t grid[3] = {}, block[3] = {};
    size_t shared = 0;  // bytes
  };

  void begin(const char* op) { op_ = op; }
  void note(Launch launch) {
    launch.op = op_;
    ring_[count_++ % SIZE] = launch;
  }
  // "; last launches, newest first: op: kernel grid 4x1x1 block 256x1x1 shared 0, …", or nothing.
  template <typename NameOf>
  std::string text(NameOf&& name_of) const {
    std::string all;
    const size_t known = count_ < SIZE ? count_ : SIZE;
    for (size_t i = 1; i <= known; ++i) {
      const Launch& each = ring_[(count_ - i) % SIZE];
      all += (i > 1 ? ", " : "; last launches, newest first: ") + std::string(each.op) + ": " + name_of(each.kernel) +
             " grid " + size(each.grid) + " block " + size(each.block) + " shared " + std::to_string(each.shared);
    }
    return all;
  }

 private:
  static constexpr size_t SIZE = 8;
  static std::string size(const uint32_t (&dims)[3]) {
    return std::to_string(dims[0]) + "x" + std::to_string(dims[1]) + "x" + std::to_string(dims[2]);
  }

  const char* op_ = "";
  Launch ring_[SIZE];
  size_t count_ = 0;
};

}  // namespace lowrank::cuda
