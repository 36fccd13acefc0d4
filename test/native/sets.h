#pragma once
// The instruction sets a native test goes through. With the argument `few`, for machines that are emulated, it leaves
// out the portable set, and the tests leave out what no instruction set has a part in.
#include <cstdint>
#include <cstring>
#include <vector>

#include "cpu/isa.h"

namespace lowrank::test {

inline bool few = false;

inline void read_arguments(int count, char** arguments) { few = count > 1 && std::strcmp(arguments[1], "few") == 0; }

inline std::vector<const char*> instruction_sets() {
  std::vector<const char*> names = cpu::isa_names();
  if (few) names.erase(names.begin());
  return names;
}

// Of values to try, those that `few` is content with.
inline std::vector<int64_t> values(std::vector<int64_t> all, std::vector<int64_t> some) { return few ? some : all; }

}  // namespace lowrank::test
