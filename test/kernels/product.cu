#include "test/kernels/product.cuh"

namespace lowrank::testing {

using namespace cuda::gemm;

namespace {
int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
}  // namespace

Matrix::Matrix(Random& random, DType dtype, int64_t mn, int64_t k, bool along_k, int64_t leading, int64_t offset)
    : mn(mn), k(k), leading(leading), along_k(along_k) {
  const int64_t lines = along_k ? mn : k, width = along_k ? k : mn;
  values = rounded(random.values(lines * leading), dtype);
  for (int64_t line = 0; line < lines; ++line)  // what lies between lines must not matter
    for (int64_t i = width; i < leading; ++i) values[size_t(line * leading + i)] = NAN;
  // Nothing but the last line's own elements has to be there.
  const int64_t size = lines && width ? (lines - 1) * leading + width : 0;
  device = std::make_unique<OnDevice>(dtype, std::vector<int64_t>{size}, Values(values.begin(), values.begin() + size),
                                      offset);
}

RandomProduct::RandomProduct(Random& random, const ProductChoice& c) : choice(c) {
  product.type = c.type, product.tf32 = c.tf32, product.m = c.m, product.n = c.n;
  const auto matrix = [&](int64_t mn, int64_t k, bool along_k) {
    const int64_t width = along_k ? k : mn;
    const int64_t leading = c.aligned ? round_up(width, 8) : width + random.pick<int64_t>({0, 0, 1, 3});
    return Matrix(random, c.type, mn, k, along_k, leading, c.aligned ? 0 : random.pick<int64_t>({0, 1, 3}));
  };
  for (const int64_t k : c.segments) {
    segments.emplace_back(matrix(c.m, k, c.a_along_k), matrix(c.n, k, c.b_along_k));
    product.segment[product.segments++] = {k, segments.back().first.operand(), segments.back().second.operand()};
  }
  for (size_t i = 0; i < c.ranks.size(); ++i) {
    slabs.emplace_back(matrix(c.m, c.ranks[i], c.a_along_k), matrix(c.n, c.ranks[i], c.b_along_k));
    Slab& slab = product.slab[product.slabs++];
    slab = {c.ranks[i], slabs.back().first.operand(), slabs.back().second.operand(), {}};
    slab.dropout.keep = c.keeps[i];
    slab.dropout.site = uint32_t(77 + i), slab.dropout.step = 3;
    slab.dropout.seed = 1234567890123, slab.dropout.row_offset = random.between(0, 500);
  }
  const int64_t offset = c.aligned ? 0 : random.pick<int64_t>({0, 1});
  if (c.bias) {
    const DType dtype = c.bias_f32 && c.type != DType::F64 ? DType::F32 : c.type;
    bias = rounded(random.values(c.n), dtype);
    bias_device = std::make_unique<OnDevice>(dtype, std::vector<int64_t>{c.n}, bias, offset);
    product.bias = *bias_device;
  }
  if (c.residual) {
    residual = rounded(random.values(c.m * c.n), c.y);
    residual_device = std::make_unique<OnDevice>(c.y, std::vector<int64_t>{c.m, c.n}, residual, offset);
    product.residual = *residual_device;
  }
  if (c.head_dim) add_rope(random);
  y = std::make_unique<OnDevice>(c.y, std::vector<int64_t>{c.m, c.n}, nullptr, offset);
  product.y = *y;
}

void RandomProduct::add_rope(Random& random) {
  constexpr int64_t POSITIONS = 11;
  const ProductChoice& c = choice;
  const DType dtype = c.type == DType::F64 ? DType::F64 : c.table_f32 || c.y == DType::F32 ? DType::F32 : c.type;
  table = rounded(random.values(POSITIONS * c.rotary), dtype);
  for (int64_t i = 0; i < c.m; ++i) positions.push_back(double(random.between(0, POSITIONS - 1)));
  table_device = std::make_unique<OnDevice>(dtype, std::vector<int64_t>{POSITIONS, c.rotary}, table);
  positions_device = std::make_unique<OnDevice>(DType::I32, std::vector<int64_t>{c.m}, positions);
  product.rope = {*positions_device, *table_device, c.head_dim, c.interleaved};
}

// By the formula of cpu/rope.cpp, in A.
template <typename A>
void RandomProduct::turn(Values& rows, bool of_magnitudes) const {
  const int64_t heads = choice.n / choice.head_dim, pairs = choice.rotary / 2;
  for (int64_t i = 0; i < choice.m * heads; ++i)
    for (int64_t pair = 0; pair < pairs; ++pair) {
      const size_t angle = size_t(int64_t(positions[size_t(i / heads)]) * choice.rotary + pair);
      A c = A(table[angle]), s = A(table[angle + size_t(pairs)]), minus = A(-1);
      if (of_magnitudes) c = std::fabs(c), s = std::fabs(s), minus = 1;
      double& a = rows[size_t(i * choice.head_dim + (choice.interleaved ? 2 * pair : pair))];
      double& b = rows[size_t(i * choice.head_dim + (choice.interleaved ? 2 * pair + 1 : pair + pairs))];
      const A x = A(a), y = A(b);
      a = double(x * c + minus * y * s), b = double(y * c + x * s);
    }
}

void RandomProduct::run(void (*kernel)(const Product&)) {
  y = std::make_unique<OnDevice>(choice.y, std::vector<int64_t>{choice.m, choice.n}, nullptr, choice.aligned ? 0 : 1);
  product.y = *y;
  kernel(product);
}

template <typename A>
Values RandomProduct::computed(bool of_magnitudes, bool rounded_first) const {
  Values out(size_t(choice.m * choice.n), 0.0);
  const auto of = [&](double x) {  // products of these are exact
    if (choice.tf32) x = rounded_to_tf32(x);
    return A(of_magnitudes ? std::fabs(x) : x);
  };
  const auto dot = [&of](const std::pair<Matrix, Matrix>& pair, int64_t i, int64_t j) {
    A sum = 0;
    for (int64_t k = 0; k < pair.first.k; ++k) sum += of(pair.first(i, k)) * of(pair.second(j, k));
    return sum;
  };
  for (int64_t i = 0; i < choice.m; ++i)
    for (int64_t j = 0; j < choice.n; ++j) {
      A sum = 0;
      for (const auto& segment : segments) sum += dot(segment, i, j);
      for (size_t s = 0; s < slabs.size(); ++s) {
        const Dropout& d = product.slab[s].dropout;
        if (!d.active()) sum += dot(slabs[s], i, j);
        else if (cpu::dropout_byte(d, uint64_t(i + d.row_offset), j) < d.keep)
          sum += A(d.multiplier()) * dot(slabs[s], i, j);
      }
      const auto add = [&](double x) { sum += A(of_magnitudes ? std::fabs(x) : x); };
      if (!bias.empty()) add(bias[size_t(j)]);
      if (!residual.empty()) add(residual[size_t(i * choice.n + j)]);
      out[size_t(i * choice.n + j)] = double(sum);
    }
  if (rounded_first) out = rounded(out, choice.y);
  if (choice.head_dim) turn<A>(out, of_magnitudes);
  return rounded(out, choice.y);
}

Values RandomProduct::expected() const { return computed<double>(false); }
Values RandomProduct::plain() const {
  return choice.type == DType::F64 ? computed<double>(false) : computed<float>(false, choice.turned_rounded);
}

void RandomProduct::expect_right(const std::string& what) const {
  const std::string name = what + " " + describe(choice);
  const Values got = y->read();
  if (choice.type == DType::F64 || choice.y == DType::F32) {
    const bool tensor_cores = choice.tf32 || choice.type == DType::BF16 || choice.type == DType::F16;
    int64_t k = 0;
    for (const int64_t each : choice.segments) k += tensor_cores ? each : 0;
    return expect_sums(name, got, expected(), computed<double>(true), choice.y, k);
  }
  const Values exact = expected();
  expect_as_good(name, got, plain(), exact, choice.y);
  if (!choice.head_dim || choice.turned_rounded) return;
  // Rounded once, all but a few are the exact value's neighbour; rounded before and after, a third are not.
  size_t others = 0;
  for (size_t i = 0; i < got.size(); ++i) others += got[i] != exact[i];
  expect(others <= 1 + got.size() / 20, name + ": rows were rounded before they were turned");
}

std::string describe(const ProductChoice& c) {
  std::string text = std::string(c.tf32 ? "tf32" : name_of(c.type)) + " to " + name_of(c.y) + " " +
                     std::to_string(c.m) + " x " + std::to_string(c.n) + ", k";
  for (const int64_t k : c.segments) text += " " + std::to_string(k);
  for (size_t i = 0; i < c.ranks.size(); ++i)
    text += ", rank " + std::to_string(c.ranks[i]) + " keep " + std::to_string(c.keeps[i]);
  if (c.head_dim)
    text += ", " + std::to_string(c.rotary) + " of " + std::to_string(c.head_dim) + " columns turned" +
            (c.interleaved ? " beside each other" : "");
  text += c.a_along_k ? ", a" : ", a^T";
  text += c.b_along_k ? " b^T" : " b";
  return text + (c.bias ? ", bias" : "") + (c.residual ? ", residual" : "") + (c.aligned ? "" : ", unaligned");
}

}  // namespace lowrank::testing
