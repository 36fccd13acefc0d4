// attention, attention_backward
#include <algorithm>
#include <cmath>

#include "cpu/philox.h"
#include "test/kernels/kernel_case.cuh"

namespace lowrank::testing {
namespace {

struct Case {
  std::vector<int32_t> starts, key_starts;  // key_starts empty: the queries'
  AttentionShape shape;
  Dropout dropout;
  int64_t reach = 0;  // L of the bias, 0 without one
  Values q, k, v, dy, bias;

  int64_t tokens() const { return starts.back(); }
  int64_t keys() const { return (key_starts.empty() ? starts : key_starts).back(); }
  int64_t width() const { return int64_t(shape.heads) * shape.head_dim; }
  int64_t key_width() const { return int64_t(shape.kv_heads) * shape.head_dim; }
};

struct Results {
  Values o, lse, dq, dk, dv;
};

std::vector<int32_t> some_starts(Fuzz& fuzz, int64_t sequences, int64_t& longest) {
  std::vector<int32_t> starts = {0};
  for (int64_t i = 0; i < sequences; ++i) {
    const int64_t length = fuzz.pick<int64_t>({0, 1, 5, 17, 31, 33, 63, 64, 65, 66, 96, 130});
    starts.push_back(starts.back() + int32_t(length));
    longest = std::max(longest, length);
  }
  return starts;
}

std::vector<double> as_doubles(const std::vector<int32_t>& x) { return {x.begin(), x.end()}; }

void fill(Case& c, Fuzz& fuzz, DType dtype) {
  c.q = rounded(fuzz.values(c.tokens() * c.width()), dtype);
  c.k = rounded(fuzz.values(c.keys() * c.key_width()), dtype);
  c.v = rounded(fuzz.values(c.keys() * c.key_width()), dtype);
  c.dy = rounded(fuzz.values(c.tokens() * c.width()), dtype);
}

Case some_case(Fuzz& fuzz, int32_t dim, DType dtype) {
  Case c;
  const int32_t kv_heads = fuzz.pick<int32_t>({1, 2}), group = fuzz.pick<int32_t>({1, 1, 2, 4});
  c.shape = {kv_heads * std::min(group, dim > 128 ? 2 : 4),
             kv_heads,
             dim,
             fuzz.pick({0, 1}),
             0,
             512,
             1 / std::sqrt(double(dim))};
  const int64_t sequences = fuzz.between(1, dim > 64 ? 2 : 3);
  c.starts = some_starts(fuzz, sequences, c.shape.max_length);
  if (fuzz.uniform() < 0.2) c.key_starts = some_starts(fuzz, sequences, c.shape.max_keys);
  if (fuzz.uniform() < 0.3) c.shape.window = fuzz.pick<int64_t>({1, 7, 32, 64, 100});
  if (fuzz.uniform() < 0.3) c.shape.softcap = fuzz.pick({0.5, 3.0, 50.0});
  if (fuzz.uniform() < 0.4) {
    c.dropout.keep = fuzz.pick({1, 128, 230});
    c.dropout.site = 11, c.dropout.step = 5, c.dropout.seed = fuzz.bits(), c.dropout.row_offset = 3;
  }
  if (fuzz.uniform() < 0.3) {
    c.reach = std::max(c.shape.max_length, c.shape.max_keys) + fuzz.between(0, 3);
    c.reach = std::max<int64_t>(c.reach, 1);
    c.bias = rounded(fuzz.values(c.shape.heads * (2 * c.reach - 1)), DType::F32);
  }
  fill(c, fuzz, dtype);
  return c;
}

// Sequences of more tiles than kernels have stages: of `queries` and `keys`, or only of queries if that is 0.
Case long_case(Fuzz& fuzz, int32_t dim, int32_t group, int32_t queries, int32_t keys, DType dtype) {
  Case c;
  c.shape = {group, 1, dim, 0, std::max(queries, 3), 1024, 1 / std::sqrt(double(dim))};
  c.starts = {0, 3, 3 + queries};
  if (keys) c.key_starts = {0, 9, 9 + keys};
  c.shape.max_keys = keys ? std::max(keys, 9) : 0;
  fill(c, fuzz, dtype);
  return c;
}

std::string name_of_case(const Case& c, DType dtype) {
  const AttentionShape& s = c.shape;
  std::string name = std::string("attention ") + name_of(dtype) + " dim " + std::to_string(s.head_dim) + " heads " +
                     std::to_string(s.heads) + "/" + std::to_string(s.kv_heads) + (s.causal ? " causal" : "");
  if (s.window) name += " window " + std::to_string(s.window);
  if (s.softcap > 0) name += " softcap " + std::to_string(s.softcap);
  if (c.reach) name += " bias";
  if (c.dropout.active()) name += " keep " + std::to_string(c.dropout.keep);
  name += " starts";
  for (const int32_t at : c.starts) name += " " + std::to_string(at);
  for (const int32_t at : c.key_starts) name += (at ? " " : " keys ") + std::to_string(at);
  return name + ": ";
}

// The gradients from the device's own o and lse, or from exact ones.
Results on_host(const Case& c) {
  const int64_t n = c.tokens(), m = c.keys();
  const OnHost q({n, c.width()}, c.q), k({m, c.key_width()}, c.k), v({m, c.key_width()}, c.v), dy({n, c.width()}, c.dy);
  const OnHost starts({int64_t(c.starts.size())}, c.starts), key_starts({int64_t(c.key_starts.size())}, c.key_starts);
  const OnHost bias({c.shape.heads, 2 * c.reach - (c.reach > 0)}, c.bias);
  const View keys = c.key_starts.empty() ? View{} : key_starts.view(), table = c.reach ? bias.view() : View{};
  OnHost o({n, c.width()}), lse({n, c.shape.heads}), dq({n, c.width()}), dk({m, c.key_width()}), dv({m, c.key_width()});
  cpu::attention(o, lse, q, k, v, starts, keys, table, c.shape, c.dropout);
  cpu::attention_backward(dq, dk, dv, dy, q, k, v, o, lse, starts, keys, table, c.shape, c.dropout);
  return {o.values(), lse.values(), dq.values(), dk.values(), dv.values()};
}

class DeviceRun {
 public:
  DeviceRun(const Case& c, DType dtype, int64_t offset = 0)
      : q(dtype, {c.tokens(), c.width()}, c.q, offset), k(dtype, {c.keys(), c.key_width()}, c.k, offset),
        v(dtype, {c.keys(), c.key_width()}, c.v, offset), dy(dtype, {c.tokens(), c.width()}, c.dy, offset),
        o(dtype, {c.tokens(), c.width()}, nullptr, offset), dq(dtype, {c.tokens(), c.width()}, nullptr, offset),
        dk(dtype, {c.keys(), c.key_width()}, nullptr, offset), dv(dtype, {c.keys(), c.key_width()}, nullptr, offset),
        lse(sums(dtype), {c.tokens(), c.shape.heads}) {
    const OnDevice starts(DType::I32, {int64_t(c.starts.size())}, as_doubles(c.starts));
    const OnDevice key_starts(DType::I32, {int64_t(c.key_starts.size())}, as_doubles(c.key_starts));
    const OnDevice bias(sums(dtype), {c.shape.heads, 2 * c.reach - (c.reach > 0)}, c.bias);
    const View keys = c.key_starts.empty() ? View{} : key_starts.view(), table = c.reach ? bias.view() : View{};
    cuda::attention(o, lse, q, k, v, starts, keys, table, c.shape, c.dropout);
    cuda::attention_backward(dq, dk, dv, dy, q, k, v, o, lse, starts, keys, table, c.shape, c.dropout);
    if (cuda::backend.finish) cuda::backend.finish(0);
  }
  Results read() const { return {o.read(), lse.read(), dq.read(), dk.read(), dv.read()}; }

  OnDevice q, k, v, dy, o, dq, dk, dv, lse;

 private:
  static DType sums(DType dtype) { return dtype == DType::F64 ? DType::F64 : DType::F32; }
};

// One head of the plain implementation, as PyTorch computes it step by step: probabilities and their gradients rounded
// to `dtype`, sums wide.
struct PlainHead {
  double score(int64_t i, int64_t j, double& slope) const {
    const AttentionShape& s = c.shape;
    double x = 0;
    for (int64_t d = 0; d < s.head_dim; ++d) x += c.q[at(i) + size_t(d)] * c.k[key_at(j) + size_t(d)];
    x *= s.scale, slope = s.scale;
    if (s.softcap > 0) {
      const double bend = std::tanh(x / s.softcap);
      x = s.softcap * bend, slope *= 1 - bend * bend;
    }
    return c.reach ? x + c.bias[size_t(head * (2 * c.reach - 1) + j - i + c.reach - 1)] : x;
  }
  bool allows(int64_t i, int64_t j) const {
    return (!c.shape.causal || j <= i) && (!c.shape.window || std::abs(i - j) < c.shape.window);
  }
  double mask(int64_t i, int64_t j) const {
    if (!c.dropout.active()) return 1;
    const int64_t row = ((c.dropout.row_offset + sequence) * c.shape.heads + head) * c.shape.row_stride + i;
    return cpu::dropout_byte(c.dropout, uint64_t(row), j) < c.dropout.keep ? c.dropout.multiplier() : 0;
  }
  size_t at(int64_t i) const { return size_t((start + i) * c.width() + head * c.shape.head_dim); }
  size_t key_at(int64_t j) const {
    return size_t((key_start + j) * c.key_width() + head / (c.shape.heads / c.shape.kv_heads) * c.shape.head_dim);
  }
  void add(Results& r, DType dtype) const {
    for (int64_t i = 0; i < length; ++i) add_query(r, dtype, i);
  }
  void add_query(Results& r, DType dtype, int64_t i) const {
    const int64_t dim = c.shape.head_dim;
    Values p(size_t(keys), 0.0), dp(size_t(keys), 0.0), slope(size_t(keys), 0.0);
    double most = -INFINITY, sum = 0, delta = 0;
    for (int64_t j = 0; j < keys; ++j) {
      p[size_t(j)] = allows(i, j) ? score(i, j, slope[size_t(j)]) : -INFINITY;
      most = std::max(most, p[size_t(j)]);
    }
    if (most == -INFINITY) return;
    for (double& x : p) sum += x = std::exp(x - most);
    for (int64_t j = 0; j < keys; ++j) {
      const double kept = mask(i, j), weight = rounded(p[size_t(j)] /= sum, dtype) * kept;
      for (int64_t d = 0; d < dim; ++d) {
        r.o[at(i) + size_t(d)] += weight * c.v[key_at(j) + size_t(d)];
        r.dv[key_at(j) + size_t(d)] += weight * c.dy[at(i) + size_t(d)];
        dp[size_t(j)] += kept * c.dy[at(i) + size_t(d)] * c.v[key_at(j) + size_t(d)];
      }
    }
    // From the rounded o, as wherever o is saved instead of the probabilities.
    for (int64_t d = 0; d < dim; ++d) delta += c.dy[at(i) + size_t(d)] * rounded(r.o[at(i) + size_t(d)], dtype);
    for (int64_t j = 0; j < keys; ++j) {
      const double ds = rounded(p[size_t(j)] * (dp[size_t(j)] - delta), dtype) * slope[size_t(j)];
      for (int64_t d = 0; d < dim; ++d) {
        r.dq[at(i) + size_t(d)] += ds * c.k[key_at(j) + size_t(d)];
        r.dk[key_at(j) + size_t(d)] += ds * c.q[at(i) + size_t(d)];
      }
    }
  }

  const Case& c;
  int64_t sequence, head, start, length, key_start, keys;
};

Results plain(const Case& c, DType dtype) {
  const size_t n = size_t(c.tokens() * c.width()), m = size_t(c.keys() * c.key_width());
  Results r{Values(n), {}, Values(n), Values(m), Values(m)};
  const auto& key_starts = c.key_starts.empty() ? c.starts : c.key_starts;
  for (size_t s = 0; s + 1 < c.starts.size(); ++s)
    for (int64_t head = 0; head < c.shape.heads; ++head)
      PlainHead{c,
                int64_t(s),
                head,
                c.starts[s],
                c.starts[s + 1] - c.starts[s],
                key_starts[s],
                key_starts[s + 1] - key_starts[s]}
          .add(r, dtype);
  for (Values* x : {&r.o, &r.dq, &r.dk, &r.dv}) *x = rounded(std::move(*x), dtype);
  return r;
}

void expect_half(const Case& c, DType dtype, int64_t offset = 0) {
  const Results expected = on_host(c), naive = plain(c, dtype);
  const DeviceRun run(c, dtype, offset);
  const Results got = run.read();
  const std::string name = name_of_case(c, dtype);
  expect_close(name + "lse", got.lse, expected.lse, 1e-5, 1e-5);
  expect_as_good(name + "o", got.o, naive.o, expected.o, dtype);
  expect_as_good(name + "dq", got.dq, naive.dq, expected.dq, dtype);
  expect_as_good(name + "dk", got.dk, naive.dk, expected.dk, dtype);
  expect_as_good(name + "dv", got.dv, naive.dv, expected.dv, dtype);
}

// Of the heads' vectors in x, the largest norm.
double longest_head(const Case& c, const Values& x) {
  double longest = 0;
  for (size_t i = 0; i < x.size(); i += size_t(c.shape.head_dim)) {
    double squares = 0;
    for (size_t d = 0; d < size_t(c.shape.head_dim); ++d) squares += x[i + d] * x[i + d];
    longest = std::max(longest, std::sqrt(squares));
  }
  return longest;
}

void expect_wide(const Case& c, DType dtype, double tolerance) {
  const Results expected = on_host(c);
  const DeviceRun run(c, dtype);
  const Results got = run.read();
  const std::string name = name_of_case(c, dtype);
  expect_close(name + "o", got.o, expected.o, tolerance, tolerance);
  expect_close(name + "lse", got.lse, expected.lse, tolerance, tolerance);
  // Where a query sees few keys dp - delta cancels, and what was rounded in dp stays.
  const double dp = longest_head(c, c.dy) * longest_head(c, c.v) * c.dropout.multiplier() * c.shape.scale;
  const double cancelled = 0.1 * tolerance * dp;
  expect_close(name + "dq", got.dq, expected.dq, 2 * tolerance, tolerance + cancelled * largest(c.k));
  expect_close(name + "dk", got.dk, expected.dk, 2 * tolerance, tolerance + cancelled * largest(c.q));
  expect_close(name + "dv", got.dv, expected.dv, 2 * tolerance, tolerance);
}

// Three sequences, of which the middle one is infinite or NaN in `broken`: results of the others keep their bits.
void expect_apart(Fuzz& fuzz, int32_t dim, DType dtype) {
  Case sound = some_case(fuzz, dim, dtype);
  sound.starts = {0}, sound.key_starts.clear(), sound.shape.max_keys = 0;
  sound.shape.heads = 2, sound.shape.kv_heads = 1;
  for (const int64_t length : {fuzz.between(1, 40), fuzz.between(1, 20), fuzz.between(1, 50)})
    sound.starts.push_back(sound.starts.back() + int32_t(length));
  sound.shape.max_length = 150, sound.shape.row_stride = 512;
  if (sound.reach) sound.reach = 150, sound.bias = rounded(fuzz.values(sound.shape.heads * 299), DType::F32);
  fill(sound, fuzz, dtype);
  Case broken = sound;
  const auto spoil = [&](Values& x, int64_t width) {
    for (int64_t i = broken.starts[1] * width; i < broken.starts[2] * width; ++i) x[size_t(i)] = i % 3 ? INFINITY : NAN;
  };
  spoil(broken.q, broken.width()), spoil(broken.dy, broken.width());
  spoil(broken.k, broken.key_width()), spoil(broken.v, broken.key_width());
  const DeviceRun one(sound, dtype), other(broken, dtype);
  const Results expected = one.read(), got = other.read();
  const auto compare = [&](const char* what, const Values& a, const Values& b, int64_t width) {
    for (int64_t i = 0; i < sound.tokens() * width; ++i) {
      const bool inside = i >= sound.starts[1] * width && i < sound.starts[2] * width;
      expect(inside || a[size_t(i)] == b[size_t(i)], name_of_case(sound, dtype) + what + " of a neighbour of NaN");
    }
  };
  compare("o", got.o, expected.o, sound.width());
  compare("lse", got.lse, expected.lse, sound.shape.heads);
  compare("dq", got.dq, expected.dq, sound.width());
  compare("dk", got.dk, expected.dk, sound.key_width());
  compare("dv", got.dv, expected.dv, sound.key_width());
}

}  // namespace

KERNEL_CASE(attention_apart_from_its_neighbours) {
  const DType half = fuzz.pick({DType::BF16, DType::F16});
  for (const int32_t dim : {fuzz.pick({64, 128}), fuzz.pick({20, 32, 96})}) expect_apart(fuzz, dim, half);
  expect_apart(fuzz, 16, DType::F32);
}

KERNEL_CASE(attention_in_f32_and_f64) {
  const int32_t dim = fuzz.pick({1, 3, 8, 16, 24, 40, 64, 72, 96, 128, 256});
  expect_wide(some_case(fuzz, dim, DType::F32), DType::F32, 2e-6);
  expect_wide(some_case(fuzz, dim > 128 ? 128 : dim, DType::F64), DType::F64, 1e-13);
}

KERNEL_CASE(attention_in_half_precision_of_odd_heads) {
  const DType dtype = fuzz.pick({DType::BF16, DType::F16});
  expect_half(some_case(fuzz, fuzz.pick({3, 12, 20, 67}), dtype), dtype);
}

KERNEL_CASE(attention_on_tensor_cores) {
  const DType dtype = fuzz.pick({DType::BF16, DType::F16});
  for (const int32_t dim : {fuzz.pick({8, 16, 24, 32}), fuzz.pick({40, 64}), fuzz.pick({72, 80, 96, 128})})
    expect_half(some_case(fuzz, dim, dtype), dtype);
}

KERNEL_CASE(attention_of_many_tiles) {
  const DType dtype = fuzz.pick({DType::BF16, DType::F16});
  const int32_t dim = fuzz.seed % 2 ? 64 : 128;
  const int32_t few = fuzz.pick({1, 20, 64}), many = fuzz.pick({513, 600, 640});
  Case keys = long_case(fuzz, dim, 1, few, many, dtype), queries = long_case(fuzz, dim, 1, many, few, dtype);
  Case grouped = long_case(fuzz, dim, 4, fuzz.pick({129, 150}), 0, dtype);
  keys.shape.window = fuzz.pick<int64_t>({0, 0, 300});
  grouped.shape.causal = 1;
  for (Case* c : {&keys, &queries, &grouped}) {
    if (fuzz.uniform() < 0.4) c->dropout.keep = 230, c->dropout.seed = fuzz.bits(), c->dropout.row_offset = 1;
    expect_half(*c, dtype);
  }
}

KERNEL_CASE(attention_on_tensor_cores_of_wide_heads) {
  const DType dtype = fuzz.pick({DType::BF16, DType::F16});
  expect_half(some_case(fuzz, fuzz.pick({136, 200, 256}), dtype), dtype);
}

KERNEL_CASE(attention_in_half_precision_unaligned) {
  expect_half(some_case(fuzz, fuzz.pick({8, 64}), DType::BF16), DType::BF16, 3);
}

// One launch has the bits of two, which a longest sequence of more than a tile asks for.
KERNEL_CASE(attention_gradients_of_short_sequences) {
  const DType dtype = fuzz.pick({DType::BF16, DType::F16});
  for (int round = 0; round < 2; ++round) {
    Case c = some_case(fuzz, 64, dtype);
    c.starts = {0}, c.key_starts.clear(), c.shape.max_keys = 0;
    c.shape.heads = c.shape.kv_heads = 2;
    for (int i = 0; i < 3; ++i)
      c.starts.push_back(c.starts.back() + fuzz.pick<int32_t>({0, 1, 17, 63, 64, 65, 100, 127, 128}));
    c.shape.max_length = 128;
    if (c.reach) c.reach = 130, c.bias = rounded(fuzz.values(c.shape.heads * 259), DType::F32);
    fill(c, fuzz, dtype);
    Case apart = c;
    apart.shape.max_length = 129;
    const DeviceRun one(c, dtype), two(apart, dtype);
    const std::string name = name_of_case(c, dtype);
    expect_same_bits(name + "dq", one.dq, two.dq);
    expect_same_bits(name + "dk", one.dk, two.dk);
    expect_same_bits(name + "dv", one.dv, two.dv);
  }
}

// What the emulator counts of ldmatrix.
KERNEL_CASE(attention_without_bank_conflicts) {
#ifdef LOWRANK_EMULATOR
  for (const int32_t dim : {fuzz.pick({16, 64}), fuzz.pick({128, 256})}) {
    const Case c = some_case(fuzz, dim, DType::BF16);
    const auto before = emulator::counters;
    const DeviceRun run(c, DType::BF16);
    const bool by_wgmma = cuda::hopper() && (dim == 64 || dim == 128);
    expect(c.tokens() == 0 || c.keys() == 0 || by_wgmma || emulator::counters.ldmatrix > before.ldmatrix,
           "tiles by ldmatrix");
    expect(emulator::counters.conflicts == before.conflicts, "bank conflicts: " + name_of_case(c, DType::BF16));
  }
#endif
}

KERNEL_CASE(attention_twice_gives_the_same_bits) {
  const Case c = some_case(fuzz, fuzz.pick({16, 64, 128}), DType::BF16);
  const DeviceRun one(c, DType::BF16), two(c, DType::BF16);
  expect_same_bits("o", one.o, two.o);
  expect_same_bits("dq", one.dq, two.dq);
  expect_same_bits("dk", one.dk, two.dk);
  expect_same_bits("dv", one.dv, two.dv);
}

}  // namespace lowrank::testing
