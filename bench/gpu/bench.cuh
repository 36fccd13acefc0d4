#pragma once
// Benchmarks of kernels on a GPU, without Node: gpu_bench [FILTER] [--rounds N] [--out FILE] [--small].
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/kernels.h"
#include "cuda/launch.cuh"

namespace lowrank::bench {

// Device memory of a shape, freed with the object. Floats hold bell-shaped values of that deviation.
class Data {
 public:
  Data(DType dtype, std::initializer_list<int64_t> dims, double deviation = 1);
  Data(std::initializer_list<int64_t> dims, const std::vector<int32_t>& values);
  ~Data();
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;
  operator View() const { return view_; }
  int64_t bytes() const { return view_.size() * int64_t(bytes_of(view_.dtype)); }

 private:
  void allocate(std::initializer_list<int64_t> dims);
  View view_;
};

// What competes in one row: each gets its turn in every round, on a cold L2.
struct Contestant {
  std::string name;
  std::function<void()> run;
};
// Median milliseconds of each, in the order given.
std::vector<double> contest(const std::vector<Contestant>& contestants);

// A line of the table: `value` against `bar` and `goal`, 0 where there are none. Larger is better, unless `least`.
struct Row {
  std::string what, unit;
  double value = 0, bar = 0, goal = 0;
  bool least = false;
  std::string notes;  // times and rates behind the value
  double milliseconds = 0;
  std::string peer;  // name that bench/peers/gpu_ops.py gives the same work
};
void add(const Row& row);
void skip(const std::string& what, const std::string& why);

struct Settings {
  std::string filter, out;
  int rounds = 20;
  bool small = false;  // shapes that the emulator gets through
};
const Settings& settings();
inline int64_t pick(int64_t large, int64_t small) { return settings().small ? small : large; }
// Bytes a second that copies within the device's memory move, read and written bytes both counted.
double copy_bandwidth();

// Registers a benchmark; the name is what FILTER looks in.
struct Registration {
  Registration(const char* name, void (*body)());
};
#define GPU_BENCH(name)                                                                                                \
  static void name();                                                                                                  \
  static const ::lowrank::bench::Registration name##_bench(#name, name);                                               \
  static void name()

// ---- cuBLAS, where the machine has it. y[m, n] = x[m, k] w, w[n, k] along k or w[k, n]; bf16, f32 accumulation.
bool has_cublas();
void cublas_product(View y, View x, View w, bool along_k);

std::string text(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace lowrank::bench
