#include <algorithm>

#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

constexpr size_t BAND = 256;  // bytes

void encode(double x, DType dtype, unsigned char* to) {
  const auto put = [to](auto value) { std::memcpy(to, &value, sizeof value); };
  switch (dtype) {
    case DType::F32: return put(float(x));
    case DType::F64: return put(x);
    case DType::BF16: return put(__nv_bfloat16(x));
    case DType::F16: return put(__half(x));
    case DType::I32: return put(int32_t(x));
    case DType::I64: return put(int64_t(x));
    case DType::U8: return put(uint8_t(x));
    default: break;  // quantised: whole matrices alone
  }
}

template <typename T>
T get(const unsigned char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

double decode(const unsigned char* from, DType dtype) {
  switch (dtype) {
    case DType::F32: return double(get<float>(from));
    case DType::F64: return get<double>(from);
    case DType::BF16: return double(float(get<__nv_bfloat16>(from)));
    case DType::F16: return double(float(get<__half>(from)));
    case DType::I32: return double(get<int32_t>(from));
    case DType::I64: return double(get<int64_t>(from));
    case DType::U8: return double(get<uint8_t>(from));
    default: break;
  }
  return 0;
}

View view_over(void* data, DType dtype, const std::vector<int64_t>& dims) {
  View view;
  view.data = data;
  view.dtype = dtype;
  view.rank = int32_t(dims.size());
  std::copy(dims.begin(), dims.end(), view.dims);
  return view;
}

size_t bytes_over(const View& view) {
  if (!is_quantized(view.dtype)) return size_t(view.size()) * bytes_of(view.dtype);
  return bytes_of(view.dtype, Shape{view.dims[0], view.dims[1]});
}

// f32 in host memory to I8 or NF4, and back.
void quantize_on_host(const Values& values, View y) {
  std::vector<float> x(values.begin(), values.end());
  cpu::quantize(y, view_over(x.data(), DType::F32, {y.dims[0], y.dims[1]}));
}

Values dequantized_on_host(View w) {
  Values values(size_t(w.size()), 0.0);
  cpu::dequantize(view_over(values.data(), DType::F64, {w.dims[0], w.dims[1]}), w);
  return values;
}

// Spacing of numbers of `dtype` near x.
double spacing(double x, DType dtype) {
  const int digits = dtype == DType::BF16 ? 8 : dtype == DType::F16 ? 11 : dtype == DType::F32 ? 24 : 53;
  int exponent = 0;
  std::frexp(x, &exponent);
  return std::ldexp(1.0, std::max(exponent, dtype == DType::F16 ? -13 : -125) - digits);
}

[[noreturn]] void fail(const std::string& what, size_t at, double got, double expected, double allowed) {
  char text[240];
  std::snprintf(text, sizeof text, ": worst at %zu: %.9g, expected %.9g; error %.3g of %.3g allowed", at, got, expected,
                std::fabs(got - expected), allowed);
  throw std::runtime_error(what + text);
}

}  // namespace

double rounded(double x, DType dtype) {
  unsigned char bytes[8];
  encode(x, dtype, bytes);
  return decode(bytes, dtype);
}

Values rounded(Values x, DType dtype) {
  for (double& each : x) each = rounded(each, dtype);
  return x;
}

double rounded_to_tf32(double x) {
  float value = float(x);
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits = (bits + 0x1000) & 0xffffe000;
  std::memcpy(&value, &bits, sizeof bits);
  return double(value);
}

OnDevice::OnDevice(DType dtype, std::vector<int64_t> dims, const Values* values, int64_t offset) {
  const size_t width = bytes_of(dtype);
  before_ = BAND + size_t(offset) * width;
  view_ = view_over(nullptr, dtype, dims);
  size_ = bytes_over(view_);
  std::vector<unsigned char> host(before_ + size_ + BAND, 0xff);
  expect(!values || values->size() == size_t(view_.size()), "test: as many values as the shape has");
  if (values && is_quantized(dtype)) quantize_on_host(*values, view_over(host.data() + before_, dtype, dims));
  else
    for (size_t i = 0; values && i < values->size(); ++i)
      encode((*values)[i], dtype, host.data() + before_ + i * width);
  memory_ = static_cast<char*>(cuda::backend.allocate(0, host.size()));
  expect(memory_ != nullptr, "test: device memory");
  cuda::backend.upload(memory_, host.data(), host.size());
  view_.data = memory_ + before_;
}

OnDevice::~OnDevice() { cuda::backend.release(0, memory_, before_ + size_ + BAND); }

std::vector<unsigned char> OnDevice::bytes() const {
  std::vector<unsigned char> all(before_ + size_ + BAND);
  cuda::backend.download(all.data(), memory_, all.size());
  check_bands(all);
  for (size_t i = before_; i < before_ + size_; ++i) digest() = (digest() ^ all[i]) * 0x100000001b3ull;
  return {all.begin() + long(before_), all.begin() + long(before_ + size_)};
}

void OnDevice::check_bands(const std::vector<unsigned char>& all) const {
  const auto clean = [](unsigned char byte) { return byte == 0xff; };
  expect(std::all_of(all.begin(), all.begin() + long(before_), clean), "a kernel wrote before its output");
  expect(std::all_of(all.end() - long(BAND), all.end(), clean), "a kernel wrote past its output");
}

Values OnDevice::read() const {
  auto raw = bytes();
  if (is_quantized(view_.dtype)) {
    View host = view_;
    host.data = raw.data();
    return dequantized_on_host(host);
  }
  const size_t width = bytes_of(view_.dtype);
  Values values(size_t(view_.size()), 0.0);
  for (size_t i = 0; i < values.size(); ++i) values[i] = decode(raw.data() + i * width, view_.dtype);
  return values;
}

OnHost::OnHost(std::vector<int64_t> dims, Values values) : values_(std::move(values)) {
  view_ = view_over(values_.data(), DType::F64, dims);
  expect(int64_t(values_.size()) == view_.size(), "test: as many values as the shape has");
}
OnHost::OnHost(std::vector<int64_t> dims) {
  view_ = view_over(nullptr, DType::F64, dims);
  values_.resize(size_t(view_.size()));
  view_.data = values_.data();
}
OnHost::OnHost(std::vector<int64_t> dims, std::vector<int32_t> values) : integers_(std::move(values)) {
  view_ = view_over(integers_.data(), DType::I32, dims);
}

uint64_t& digest() {
  static uint64_t bits = 0;
  return bits;
}

void expect(bool ok, const std::string& what) {
  if (!ok) throw std::runtime_error(what);
}

double largest(const Values& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, std::fabs(value));
  return most;
}

Values magnitudes(Values values) {
  for (double& value : values) value = std::fabs(value);
  return values;
}

void expect_close(const std::string& what, const Values& got, const Values& expected, double relative,
                  double absolute) {
  expect(got.size() == expected.size(), what + ": sizes differ");
  double most = 0, worst = 0;
  size_t at = 0;
  for (const double x : expected)
    if (std::isfinite(x)) most = std::max(most, std::fabs(x));
  const double allowed = absolute + relative * most;
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i] == expected[i]) continue;
    const double error = std::fabs(got[i] - expected[i]);
    if (!(error <= allowed)) fail(what, i, got[i], expected[i], allowed);
    if (error > worst) worst = error, at = i;
  }
  if (worst > allowed) fail(what, at, got[at], expected[at], allowed);
}

double truncation_of(int64_t k) { return double((k + 15) / 16) * 0x1p-23; }

void expect_sums(const std::string& what, const Values& got, const Values& expected, const Values& bound, DType dtype,
                 int64_t k) {
  if (dtype == DType::F64) return expect_close(what, got, expected, 1e-13, 1e-15 * largest(bound));
  expect_close(what, got, expected, 2e-6, std::max(2e-7, truncation_of(k)) * largest(bound));
}

void expect_as_good(const std::string& what, const Values& got, const Values& plain, const Values& expected,
                    DType dtype, double absolute, double factor) {
  expect(got.size() == expected.size() && plain.size() == expected.size(), what + ": sizes differ");
  double allowed = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!std::isfinite(expected[i])) continue;
    allowed = std::max({allowed, std::fabs(plain[i] - expected[i]), spacing(expected[i], dtype) / 2});
  }
  allowed = factor * allowed + absolute;
  for (size_t i = 0; i < got.size(); ++i)
    if (got[i] != expected[i] && !(std::fabs(got[i] - expected[i]) <= allowed))
      fail(what, i, got[i], expected[i], allowed);
}

void expect_accurate(const std::string& what, const Values& got, const Values& expected, DType dtype) {
  const std::string name = what + " in " + name_of(dtype);
  if (dtype == DType::F64) return expect_close(name, got, expected, 1e-12);
  if (dtype == DType::F32) return expect_close(name, got, expected, 2e-6);
  expect_as_good(name, got, rounded(expected, dtype), expected, dtype);
}

void expect_same_kinds(const std::string& what, const Values& got, const Values& expected) {
  expect(got.size() == expected.size(), what + ": sizes differ");
  for (size_t i = 0; i < got.size(); ++i) {
    const bool same = std::isfinite(expected[i])
                          ? std::isfinite(got[i])
                          : got[i] == expected[i] || (got[i] != got[i] && expected[i] != expected[i]);
    if (!same) fail(what, i, got[i], expected[i], 0);
  }
}

void expect_same_bits(const std::string& what, const OnDevice& got, const OnDevice& expected) {
  expect(got.bytes() == expected.bytes(), what + ": bits differ");
}

std::vector<KernelCase>& kernel_cases() {
  static std::vector<KernelCase> all;
  return all;
}

}  // namespace lowrank::testing
