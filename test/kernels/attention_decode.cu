// attention_decode, cache_write
#include <cmath>

#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

struct Types {
  DType x, cache;
};
constexpr Types TYPES[] = {{DType::F32, DType::F32},
                           {DType::F32, DType::BF16},
                           {DType::F64, DType::F64},
                           {DType::BF16, DType::BF16},
                           {DType::F16, DType::F16}};

Values as_values(const std::vector<int32_t>& x) { return {x.begin(), x.end()}; }

}  // namespace

KERNEL_CASE(attention_decode_of_any_cache) {
  for (const auto& [dtype, stored] : TYPES) {
    const int32_t kv_heads = fuzz.pick({1, 2}), dim = fuzz.pick({3, 8, 40, 64, 80, 128, 200, 256});
    const int32_t heads = kv_heads * fuzz.pick({1, 1, 2, 4, 6});
    const int64_t rows = fuzz.between(1, 3), page = fuzz.pick<int64_t>({1, 7, 16}),
                  most = fuzz.pick<int64_t>({1, 30, 40});
    const int64_t capacity = most * page, width = int64_t(kv_heads) * dim, count = rows * most;
    AttentionShape shape{heads, kv_heads, dim, 0, 0, 0, 1 / std::sqrt(double(dim))};
    shape.window = fuzz.pick<int64_t>({0, 0, 1, 70}), shape.softcap = fuzz.pick({0.0, 0.0, 2.0});
    std::vector<int32_t> lengths, pages;
    for (int64_t i = 0; i < rows; ++i) lengths.push_back(int32_t(fuzz.between(0, capacity)));
    lengths[0] = int32_t(capacity);
    for (int64_t i = 0; i < count; ++i) pages.push_back(int32_t((i * 7 + 3) % count));  // 7 divides no count here
    const DType sums = dtype == DType::F64 ? DType::F64 : DType::F32;
    const int64_t table = fuzz.pick<int64_t>({0, 2 * capacity - 1});
    const Values q = rounded(fuzz.values(rows * heads * dim), dtype);
    Values k = rounded(fuzz.values(count * page * width), stored);
    Values v = rounded(fuzz.values(count * page * width), stored);
    for (int64_t i = 0; i < rows * capacity; ++i)  // past its end a cache is what it was
      if (i % capacity >= lengths[size_t(i / capacity)]) {
        const int64_t row = pages[size_t(i / page)] * page + i % page;
        for (int64_t c = row * width; c < (row + 1) * width; ++c) k[size_t(c)] = v[size_t(c)] = NAN;
      }
    const Values bias = rounded(fuzz.values(heads * table), DType::F32);

    const OnHost hq({rows, heads * dim}, q), hk({count, page, width}, k), hv({count, page, width}, v);
    const OnHost ht({heads, table}, bias), hl({rows}, lengths), hp({rows, most}, pages);
    OnHost expected({rows, heads * dim});
    cpu::attention_decode(expected, hq, hk, hv, hl, hp, table ? ht.view() : View{}, shape);
    const int64_t offset = fuzz.pick<int64_t>({0, 0, 1});
    const OnDevice dq(dtype, {rows, heads * dim}, q, offset), dk(stored, {count, page, width}, k, offset);
    const OnDevice dv(stored, {count, page, width}, v, offset), dt(sums, {heads, table}, bias);
    const OnDevice dl(DType::I32, {rows}, as_values(lengths)), dp(DType::I32, {rows, most}, as_values(pages));
    const OnDevice o(dtype, {rows, heads * dim});
    cuda::attention_decode(o, dq, dk, dv, dl, dp, table ? dt.view() : View{}, shape);
    const std::string name = std::string("decode ") + name_of(dtype) + " of " + name_of(stored) + " dim " +
                             std::to_string(dim) + " capacity " + std::to_string(capacity) + " heads " +
                             std::to_string(heads) + "/" + std::to_string(kv_heads);
    if (sums == dtype) expect_close(name, o.read(), expected.values(), dtype == DType::F32 ? 3e-6 : 1e-13, 1e-13);
    else expect_as_good(name, o.read(), rounded(expected.values(), dtype), expected.values(), dtype);
  }
}

KERNEL_CASE(cache_write_into_any_pages) {
  for (const auto& [dtype, stored] : TYPES) {
    const int64_t rows = fuzz.between(1, 9), width = fuzz.pick<int64_t>({3, 16, 64, 200}),
                  offset = fuzz.pick<int64_t>({0, 1});
    const Values k = rounded(fuzz.values(rows * width), dtype), v = rounded(fuzz.values(rows * width), dtype);
    Values keys = rounded(fuzz.values(20 * width), stored), values = keys;
    const OnDevice dk(stored, {4, 5, width}, keys, offset), dv(stored, {4, 5, width}, values, offset);
    std::vector<int32_t> slots;
    for (int64_t i = 0; i < rows; ++i) slots.push_back(int32_t((i * 7 + 2) % 20));
    const OnDevice given_k(dtype, {rows, width}, k, offset), given_v(dtype, {rows, width}, v, offset);
    const OnDevice places(DType::I32, {rows}, as_values(slots));
    cuda::cache_write(dk, dv, given_k, given_v, places);
    for (int64_t i = 0; i < rows * width; ++i) {
      const auto to = size_t(slots[size_t(i / width)] * width + i % width);
      keys[to] = k[size_t(i)], values[to] = v[size_t(i)];
    }
    const std::string name = std::string("cache write ") + name_of(dtype) + " to " + name_of(stored);
    expect_same_bits(name + ", keys", dk, OnDevice(stored, {4, 5, width}, keys));
    expect_same_bits(name + ", values", dv, OnDevice(stored, {4, 5, width}, values));
  }
}

}  // namespace lowrank::testing
