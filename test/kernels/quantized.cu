// quantize, dequantize: bit for bit what the CPU makes.
#include "core/blocks.h"
#include "core/quantized.h"
#include "cuda/gemm/quantized_rows.cuh"
#include "test/kernels/lora.cuh"

namespace lowrank::testing {
namespace {

struct Sizes {
  int64_t out, in;
};

// Whole blocks, blocks across rows, a ragged last block, an odd number of elements, more than one nested block.
Sizes sizes(Fuzz& fuzz) {
  return fuzz.pick<Sizes>({{1, 1}, {3, 64}, {5, 33}, {7, 128}, {16, 72}, {33, 65}, {67, 256}, {130, 130}, {0, 9}});
}

Values weights(Fuzz& fuzz, const Sizes& size) {
  Values x = rounded(fuzz.values(size.out * size.in, 0.04), DType::F32);
  for (int64_t i = 0; i < int64_t(x.size()); ++i) {
    if (i / 64 == 1) x[size_t(i)] = 0;        // a block without an absmax
    if (i % 577 == 5) x[size_t(i)] *= 30;     // outliers
    if (i % 64 == 9) x[size_t(i)] = 0.03125;  // values that fall between two codes
  }
  return x;
}

// Products of x[n, in], rounded to `type`, with the floats that w stands for.
void expect_linear(Fuzz& fuzz, int64_t n, const Sizes& size, DType type, DType stored) {
  const int64_t in = size.in, out = size.out;
  const Values x = rounded(fuzz.values(n * in), type);
  const OnDevice w(stored, {out, in}, weights(fuzz, size)), dx(type, {n, in}, x), y(type, {n, out});
  const bool with_bias = fuzz.pick({false, true});
  const Values bias = rounded(fuzz.values(out), DType::F32), floats = w.read(), as_read = rounded(floats, type);
  const OnDevice db(DType::F32, {out}, bias);
  Values exact(size_t(n * out), 0.0), plain = exact;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < out; ++j) {
      double sum = 0;
      float narrow = 0;
      for (int64_t k = 0; k < in; ++k) {
        sum += x[size_t(i * in + k)] * floats[size_t(j * in + k)];
        narrow += float(x[size_t(i * in + k)]) * float(as_read[size_t(j * in + k)]);
      }
      exact[size_t(i * out + j)] = sum + (with_bias ? bias[size_t(j)] : 0);
      plain[size_t(i * out + j)] = double(narrow) + (with_bias ? bias[size_t(j)] : 0);
    }
  cuda::linear(y, dx, w, with_bias ? db.view() : View{}, Compute::F32, Rope{});
  const std::string what = std::string("linear of ") + name_of(type) + " and " + name_of(stored);
  if (type == DType::F32) expect_close(what, y.read(), exact, 2e-6, 1e-7);
  else expect_as_good(what, y.read(), rounded(plain, type), exact, type);
  // dx = dy w
  const OnDevice back(type, {n, in}), dy(type, {n, out}, rounded(fuzz.values(n * out), type));
  Values expected(size_t(n * in), 0.0);
  const Values grad = dy.read();
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < out; ++j)
      for (int64_t k = 0; k < in; ++k)
        expected[size_t(i * in + k)] += grad[size_t(i * out + j)] * as_read[size_t(j * in + k)];
  cuda::matmul(back, dy, w, false, false, Compute::F32);
  if (type == DType::F32) expect_close("dx of " + what, back.read(), expected, 2e-6, 1e-7);
  else expect_as_good("dx of " + what, back.read(), rounded(expected, type), expected, type);
}

}  // namespace

KERNEL_CASE(quantize_like_the_cpu) {
  for (const DType dtype : {DType::I8, DType::NF4}) {
    const Sizes size = sizes(fuzz);
    const Values x = weights(fuzz, size);
    OnDevice expected(dtype, {size.out, size.in}, x), dx(DType::F32, {size.out, size.in}, x, fuzz.between(0, 1));
    OnDevice w(dtype, {size.out, size.in});
    cuda::quantize(w, dx);
    expect_same_bits(std::string("quantize to ") + name_of(dtype), w, expected);
  }
}

KERNEL_CASE(dequantize_like_the_cpu) {
  for (const DType dtype : {DType::I8, DType::NF4})
    for (const DType to : {DType::F32, DType::F64, DType::BF16, DType::F16}) {
      const Sizes size = sizes(fuzz);
      OnDevice w(dtype, {size.out, size.in}, weights(fuzz, size));
      const Values expected = w.read();
      OnDevice y(to, {size.out, size.in}, nullptr, fuzz.pick<int64_t>({0, 0, 1, 3}));
      cuda::dequantize(y, w);
      expect_same_bits(std::string("dequantize ") + name_of(dtype) + " to " + name_of(to), y,
                       OnDevice(to, {size.out, size.in}, expected));
    }
}

// Bytes of every value, with scales that are numbers; what they stand for on the host is held against gguf-py.
KERNEL_CASE(dequantize_blocks_like_the_host) {
  const int64_t rows = fuzz.between(1, 9), columns = 256 * fuzz.between(1, 3);
  for (int format = int(DType::Q4_0); format <= int(DType::Q6_K); ++format) {
    const auto dtype = DType(format);
    const BlockFormat block = block_format(dtype);
    std::vector<uint8_t> bytes(size_t(rows * columns / block.elements * block.bytes));
    for (auto& byte : bytes) byte = uint8_t(fuzz.between(0, 255));
    for (size_t at = 0; at < bytes.size(); at += size_t(block.bytes))
      for (const int64_t scale : block.scales)
        if (scale >= 0) bytes[at + size_t(scale) + 1] &= 0xbb;  // neither NaN nor infinity
    const OnDevice memory(DType::U8, {int64_t(bytes.size())}, Values(bytes.begin(), bytes.end()));
    View w = memory;
    w.dtype = dtype, w.rank = 2, w.dims[0] = rows, w.dims[1] = columns;
    Values expected;
    with_blocks(dtype, [&](auto constant) {
      for (int64_t i = 0; i < rows * columns; ++i)
        expected.push_back(double(block_run<decltype(constant)::value>(
            bytes.data() + i / block.elements * block.bytes, int(i % block.elements / BLOCK_RUN))[int(i % BLOCK_RUN)]));
    });
    for (const DType to : {DType::F32, DType::F64, DType::BF16, DType::F16}) {
      const OnDevice y(to, {rows, columns}, nullptr, fuzz.pick<int64_t>({0, 0, 1, 3}));
      cuda::dequantize(y, w);
      expect_same_bits(std::string("dequantize ") + name_of(dtype) + " to " + name_of(to), y,
                       OnDevice(to, {rows, columns}, expected));
    }
  }
}

KERNEL_CASE(linear_with_quantized_weights) {
  for (const DType stored : {DType::I8, DType::NF4})
    for (const DType type : {DType::F32, DType::BF16, DType::F16})
      expect_linear(fuzz, fuzz.between(1, 70), {fuzz.between(1, 40), fuzz.pick<int64_t>({33, 64, 72})}, type, stored);
}

// The kernel that reads codes: each number of tiles of rows; K within, at and past a step of 512.
KERNEL_CASE(linear_of_few_rows_with_quantized_weights) {
  for (const DType stored : {DType::I8, DType::NF4})
    for (const int64_t most : {int64_t(16), int64_t(32), int64_t(64)})
      expect_linear(fuzz, fuzz.between(most / 2, most), {fuzz.between(1, 40), fuzz.pick<int64_t>({64, 192, 512, 576})},
                    fuzz.pick({DType::BF16, DType::F16}), stored);
}

// Codes are read in the product's loop for few rows, beside an adapter of any rank; rows may be turned.
void expect_layer_of_few_rows(Fuzz& fuzz, DType stored, int64_t most) {
  const DType type = fuzz.pick({DType::BF16, DType::F16});
  const int64_t m = fuzz.between(most / 2, most), n = fuzz.between(1, 5) * 16, k = fuzz.pick<int64_t>({64, 192, 576});
  Layer layer(fuzz, type, {m, n, k, fuzz.pick<int64_t>({1, 3, 8, 16, 24, 64})}, fuzz.pick<bool>({true, false}));
  layer.offset = 0, layer.exact = fuzz.pick<bool>({true, true, false});
  if (fuzz.pick<bool>({true, false})) layer.add_rope(fuzz, 16);
  Run run(layer, stored);
  layer.w = run.w.read();
  expect(cuda::gemm::suits_quantized(run.x, run.w), layer.name("codes are read"));
  run.forward();
  Layer narrow = layer;
  narrow.w = rounded(layer.w, type);
  Values y, s, plain_y, plain_s;
  layer.forward(y, s);
  narrow.plain_forward(plain_y, plain_s);
  if (layer.exact) {
    narrow.head_dim = 0;
    narrow.forward(plain_y, plain_s);
    plain_y = rounded(layer.turned(rounded(plain_y, type)), type);
  }
  expect_as_good(layer.name("y beside codes"), run.y.read(), plain_y, y, type);
}

KERNEL_CASE(lora_linear_of_few_rows_with_quantized_weights) {
  for (const DType stored : {DType::I8, DType::NF4})
    for (const int64_t most : {2, 16, 32, 64}) expect_layer_of_few_rows(fuzz, stored, most);
}

// An adapter that has not been trained changes no bit of them.
KERNEL_CASE(lora_linear_of_zero_b_with_quantized_weights) {
  for (const DType stored : {DType::I8, DType::NF4}) {
    Layer layer(fuzz, DType::BF16, {fuzz.between(1, 64), 48, 192, 8}, true);
    layer.b.assign(layer.b.size(), 0.0), layer.offset = 0;
    Run run(layer, stored);
    run.forward();
    const OnDevice y(layer.type, {layer.m, layer.n});
    cuda::linear(y, run.x, run.w, layer.has_bias ? run.bias.view() : View{}, Compute::F32, Rope{});
    expect_same_bits(layer.name("y"), run.y, y);
  }
}

// A layer with an adapter beside a quantised weight, and beside the floats it stands for: the same bits where it is
// converted first.
KERNEL_CASE(lora_linear_with_quantized_weights) {
  for (const DType stored : {DType::I8, DType::NF4}) {
    const DType type = fuzz.pick({DType::BF16, DType::F16});
    const Sizes size = {fuzz.between(1, 9) * 8, fuzz.pick<int64_t>({64, 72})};
    const int64_t n = fuzz.between(65, 90), in = size.in, out = size.out, r = 4;
    const OnDevice quantized(stored, {out, in}, weights(fuzz, size)), floats(type, {out, in}, quantized.read());
    const OnDevice x(type, {n, in}, fuzz.values(n * in)), dy(type, {n, out}, fuzz.values(n * out));
    const OnDevice a(DType::F32, {r, in}, fuzz.values(r * in)), b(DType::F32, {out, r}, fuzz.values(out * r));
    const OnDevice y[2] = {{type, {n, out}}, {type, {n, out}}}, dx[2] = {{type, {n, in}}, {type, {n, in}}};
    const OnDevice da(DType::F32, {r, in}), db(DType::F32, {out, r}), s(DType::F32, {n, r});
    for (const int i : {0, 1}) {
      const View w = i ? floats.view() : quantized.view();
      cuda::lora_linear(y[i], s, x, w, View{}, a, b, 0.5, Dropout{}, Compute::BF16, true, Rope{});
      cuda::lora_linear_backward(dx[i], da, db, dy, x, w, a, b, s, 0.5, Dropout{}, Compute::BF16, true, {});
    }
    expect_same_bits("y", y[0], y[1]);
    expect_same_bits("dx", dx[0], dx[1]);
  }
}

}  // namespace lowrank::testing
