// Data, clocks, the table.

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "bench/gpu/bench.cuh"
#include "cuda/info.h"

namespace lowrank::bench {
namespace {

struct Benchmark {
  const char* name;
  void (*body)();
};
std::vector<Benchmark>& benchmarks() {
  static std::vector<Benchmark> all;
  return all;
}
Settings chosen;
std::vector<Row> rows;
std::vector<std::pair<std::string, std::string>> skipped;

__device__ uint32_t mixed(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

// Sum of four uniform values: nothing that a product could profit from, as zeros or small integers would be.
template <typename T>
__global__ void fill_bell(T* y, int64_t n, float deviation, uint32_t seed) {
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    float sum = -2;
    for (uint32_t k = 0; k < 4; ++k) sum += float(mixed(uint32_t(i) * 4 + k + seed) >> 8) * 0x1p-24f;
    y[i] = T(deviation * 1.7320508f * sum);
  }
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

// Written before each turn, so that nobody finds its operands in L2. Twice its size, and 64 MB at least.
void flush_l2() {
  static void* memory = nullptr;
  static size_t bytes = 0;
  if (!memory) {
    bytes = settings().small ? 4096 : std::max(2 * cuda::properties().l2, size_t(64) << 20);
    cuda::check_cuda(cudaMalloc(&memory, bytes), "cudaMalloc");
  }
  cuda::check_cuda(cudaMemsetAsync(memory, 0, bytes, cuda::stream()), "cudaMemsetAsync");
}

struct Clock {
  Clock() {
    for (cudaEvent_t& event : ends) cuda::check_cuda(cudaEventCreate(&event), "cudaEventCreate");
  }
  ~Clock() {
    for (const cudaEvent_t event : ends) cudaEventDestroy(event);
  }
  double time(const std::function<void()>& run) {
    flush_l2();
    cuda::check_cuda(cudaEventRecord(ends[0], cuda::stream()), "cudaEventRecord");
    run();
    cuda::check_cuda(cudaEventRecord(ends[1], cuda::stream()), "cudaEventRecord");
    cuda::check_cuda(cudaEventSynchronize(ends[1]), "cudaEventSynchronize");
    float ms = 0;
    cuda::check_cuda(cudaEventElapsedTime(&ms, ends[0], ends[1]), "cudaEventElapsedTime");
    return double(ms);
  }
  cudaEvent_t ends[2] = {};
};

const char* verdict(const Row& row) {
  if (row.bar == 0) return "";
  const auto reaches = [&](double aim) { return row.least ? row.value <= aim : row.value >= aim; };
  if (row.goal != 0 && reaches(row.goal)) return "goal";
  return reaches(row.bar) ? "pass" : "miss";
}

std::string aim_text(const Row& row, double aim) {
  return aim == 0 ? "" : text("%s %.4g", row.least ? "<=" : ">=", aim);
}

std::string quoted(const std::string& s) {
  std::string out = "\"";
  for (const char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string json_of(const cuda::DeviceInfo& device, int driver) {
  std::string out = "{\n  \"device\": " + quoted(device.name) + ",\n  \"capability\": " + quoted(device.capability);
  out += text(",\n  \"driver\": %d,\n  \"copy_gb_s\": %.0f", driver, copy_bandwidth() / 1e9);
  if (const char* commit = std::getenv("LOWRANK_COMMIT")) out += ",\n  \"commit\": " + quoted(commit);
  out += text(",\n  \"rounds\": %d,\n  \"rows\": [", chosen.rounds);
  const char* comma = "\n";
  for (const Row& row : rows) {
    out += comma + ("    {\"what\": " + quoted(row.what)) + ", \"unit\": " + quoted(row.unit);
    out += text(", \"value\": %.6g, \"bar\": %.6g, \"goal\": %.6g, \"least\": %s, \"ms\": %.6g", row.value, row.bar,
                row.goal, row.least ? "true" : "false", row.milliseconds);
    out += ", \"peer\": " + quoted(row.peer) + ", \"verdict\": " + quoted(verdict(row));
    out += ", \"notes\": " + quoted(row.notes) + "}";
    comma = ",\n";
  }
  out += "\n  ],\n  \"skipped\": [";
  comma = "\n";
  for (const auto& [what, why] : skipped) {
    out += comma + ("    {\"what\": " + quoted(what)) + ", \"why\": " + quoted(why) + "}";
    comma = ",\n";
  }
  return out + "\n  ]\n}\n";
}

void print_table() {
  std::printf("\n| what | value | bar | goal | | |\n|---|---|---|---|---|---|\n");
  for (const Row& row : rows)
    std::printf("| %s | %.4g %s | %s | %s | %s | %s |\n", row.what.c_str(), row.value, row.unit.c_str(),
                aim_text(row, row.bar).c_str(), aim_text(row, row.goal).c_str(), verdict(row), row.notes.c_str());
  for (const auto& [what, why] : skipped) std::printf("| %s | skipped: %s | | | | |\n", what.c_str(), why.c_str());
}

void parse(int count, char** arguments) {
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (argument == "--rounds" && i + 1 < count) chosen.rounds = std::max(1, std::atoi(arguments[++i]));
    else if (argument == "--out" && i + 1 < count) chosen.out = arguments[++i];
    else if (argument == "--small") chosen.small = true, chosen.rounds = 1;
    else chosen.filter = argument;
  }
}

}  // namespace

const Settings& settings() { return chosen; }

Registration::Registration(const char* name, void (*body)()) { benchmarks().push_back({name, body}); }

std::string text(const char* format, ...) {
  char buffer[400];
  va_list args;
  va_start(args, format);
  std::vsnprintf(buffer, sizeof buffer, format, args);
  va_end(args);
  return buffer;
}

void Data::allocate(std::initializer_list<int64_t> dims) {
  view_.rank = int32_t(dims.size());
  std::copy(dims.begin(), dims.end(), view_.dims);
  view_.data = cuda::backend.allocate(0, size_t(std::max<int64_t>(bytes(), 1)));
  check(view_.data != nullptr, Code::Memory, "bench: no memory for ", bytes(), " bytes");
}

Data::Data(DType dtype, std::initializer_list<int64_t> dims, double deviation) {
  view_.dtype = dtype;
  allocate(dims);
  static uint32_t seed = 0;
  if (dtype == DType::F32 || dtype == DType::F64 || dtype == DType::BF16 || dtype == DType::F16)
    cuda::dispatch(view_, [&](auto zero) {
      using T = decltype(zero);
      const int64_t blocks = std::min<int64_t>(cuda::ceil_div(view_.size(), 256), pick(4096, 4));
      cuda::launch(fill_bell<T>, blocks, 256, view_.as<T>(), view_.size(), float(deviation), seed += 0x9e3779b9u);
    });
  else cuda::check_cuda(cudaMemsetAsync(view_.data, 0, size_t(bytes()), cuda::stream()), "cudaMemsetAsync");
}

Data::Data(std::initializer_list<int64_t> dims, const std::vector<int32_t>& values) {
  view_.dtype = DType::I32;
  allocate(dims);
  cuda::backend.upload(view_.data, values.data(), values.size() * sizeof(int32_t));
}

Data::~Data() { cuda::backend.release(0, view_.data, size_t(bytes())); }

std::vector<double> contest(const std::vector<Contestant>& contestants) {
  Clock clock;
  std::vector<std::vector<double>> times(contestants.size());
  const int warm = settings().small ? 0 : 3;
  for (int round = -warm; round < settings().rounds; ++round)
    for (size_t i = 0; i < contestants.size(); ++i) {
      const double ms = clock.time(contestants[i].run);
      if (round >= 0) times[i].push_back(ms);
    }
  std::vector<double> medians;
  for (const auto& each : times) medians.push_back(median(each));
  return medians;
}

double copy_bandwidth() {
  static double rate = 0;
  if (rate > 0) return rate;
  const int64_t bytes = pick(int64_t(1) << 30, 1 << 16);
  const Data from(DType::U8, {bytes}), to(DType::U8, {bytes});
  const auto copy = [&] {
    cuda::check_cuda(
        cudaMemcpyAsync(View(to).data, View(from).data, size_t(bytes), cudaMemcpyDeviceToDevice, cuda::stream()),
        "cudaMemcpyAsync");
  };
  return rate = 2e3 * double(bytes) / contest({{"copy", copy}})[0];
}

void add(const Row& row) {
  rows.push_back(row);
  std::printf("%-70s %10.4g %-8s %s %s\n", row.what.c_str(), row.value, row.unit.c_str(), verdict(row),
              row.notes.c_str());
  std::fflush(stdout);
}

void skip(const std::string& what, const std::string& why) {
  skipped.emplace_back(what, why);
  std::printf("skip: %s: %s\n", what.c_str(), why.c_str());
}

// Whether every benchmark ran to its end.
static bool run_all() {
  bool ok = true;
  for (const Benchmark& each : benchmarks()) {
    if (!std::strstr(each.name, chosen.filter.c_str())) continue;
    try {
      each.body();
      cuda::check_cuda(cudaStreamSynchronize(cuda::stream()), "cudaStreamSynchronize");
    } catch (const std::exception& error) {
      std::printf("FAIL %s: %s\n", each.name, error.what());
      skipped.emplace_back(each.name, error.what());
      ok = false;
    }
  }
  return ok;
}

static int main_of(int count, char** arguments) {
  std::string reason;
  if (device_count(DeviceKind::Cuda, reason) == 0) {
    std::printf("skip: %s\n", reason.c_str());
    return 0;
  }
  parse(count, arguments);
  if (cuda::backend.enter) cuda::backend.enter(0);
  const cuda::Info info = cuda::info();
  std::printf("%s, copies %.0f GB/s, %d rounds%s\n", info.devices[0].name.c_str(), copy_bandwidth() / 1e9,
              chosen.rounds, has_cublas() ? "" : ", no cuBLAS");
  const bool ok = run_all();
  print_table();
  if (!chosen.out.empty()) {
    std::FILE* file = std::fopen(chosen.out.c_str(), "w");
    check(file != nullptr, Code::Option, "bench: can't write ", chosen.out);
    std::fputs(json_of(info.devices[0], info.driver).c_str(), file);
    std::fclose(file);
  }
  return ok ? 0 : 1;
}

}  // namespace lowrank::bench

int main(int count, char** arguments) { return lowrank::bench::main_of(count, arguments); }
