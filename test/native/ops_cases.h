// The second half of ops_test.cpp: norms, losses, attention.
#pragma once

void test_layer_norm() {
  for (const int64_t cols : values({1, 20, 384, 768, 1000}, {1, 20, 390}))
    for (const int32_t keep : {256, 230})
      for (const bool residual : {false, true}) {
        const int64_t rows = 70;
        Mats<double> in = {random_mat(rnd, rows, cols), random_mat(rnd, rows, cols, 3), random_mat(rnd, 1, cols),
                           random_mat(rnd, 1, cols),    random_mat(rnd, rows, cols),    random_mat(rnd, rows, cols)};
        const Dropout dropout = some_dropout(keep);
        const auto forward = [&](const auto& x) {
          using M = std::decay_t<decltype(x[0])>;
          std::vector<M> y = {M(rows, cols), M(rows, cols), M(1, rows), M(1, rows)};
          if (!residual && !dropout.active()) y[1] = x[0];
          cpu::layer_norm(y[0].view(), y[1].bytes == x[0].bytes ? View{} : y[1].view(), y[2].flat(), y[3].flat(),
                          x[0].view(), residual ? x[1].view() : View{}, x[2].flat(), x[3].flat(), 1e-5, dropout);
          return y;
        };
        const auto both = [&](const auto& x) {
          using M = std::decay_t<decltype(x[0])>;
          auto y = forward(x);
          std::vector<M> g = {M(rows, cols), M(rows, cols), M(1, cols), M(1, cols)};
          cpu::layer_norm_backward(g[0].view(), dropout.active() ? g[1].view() : View{}, g[2].flat(), g[3].flat(),
                                   x[4].view(), residual ? x[5].view() : View{}, y[1].view(), x[2].flat(), y[2].flat(),
                                   y[3].flat(), dropout);
          for (const auto& m : g) y.push_back(m);
          return y;
        };
        // One column has no variance: rstd is 1/sqrt(eps), and every gradient rounds to noise.
        if (cols > 1) check_op("layer norm " + std::to_string(cols), in, both, {1e-5, 2e-6});
        if (cols != 20) continue;
        check_gradient(
            "layer norm", {in[0], in[2], in[3]},
            [&](const Mats<double>& x) {
              return forward(Mats<double>{x[0], in[1], x[1], x[2]})[0];
            },
            [&](const Mats<double>& x, const Mat<double>& seed) {
              Mat<double> none(rows, cols);
              const Mats<double> y = both(Mats<double>{x[0], in[1], x[1], x[2], seed, none});
              return Mats<double>{y[4], y[6], y[7]};
            });
      }
}

void test_rms_norm() {
  const int64_t rows = 70;
  for (const int64_t cols : values({1, 20, 384, 1000}, {20, 390}))
    for (const int32_t keep : {256, 230})
      for (const bool residual : {false, true}) {
        const Mats<double> in = {random_mat(rnd, rows, cols), random_mat(rnd, rows, cols, 3), random_mat(rnd, 1, cols),
                                 random_mat(rnd, rows, cols), random_mat(rnd, rows, cols)};
        const Dropout dropout = some_dropout(keep);
        check_op("rms norm " + std::to_string(cols), in,
                 [&](const auto& x) {
                   using M = std::decay_t<decltype(x[0])>;
                   std::vector<M> y = {M(rows, cols), M(rows, cols), M(1, rows), M(rows, cols), M(1, cols)};
                   const bool same = !residual && !dropout.active();
                   cpu::rms_norm(y[0].view(), same ? View{} : y[1].view(), y[2].flat(), x[0].view(),
                                 residual ? x[1].view() : View{}, x[2].flat(), 1, 1e-5, dropout);
                   const View h = same ? x[0].view() : y[1].view(), dh = residual ? x[4].view() : View{};
                   cpu::rms_norm_backward(y[3].view(), y[4].flat(), x[3].view(), dh, h, x[2].flat(), y[2].flat(), 1);
                   M alone(rows, cols);  // the same dx where nobody wants dw
                   cpu::rms_norm_backward(alone.view(), View{}, x[3].view(), dh, h, x[2].flat(), y[2].flat(), 1);
                   expect(std::memcmp(alone.data(), y[3].data(), alone.size() * sizeof(alone[0])) == 0,
                          "rms norm: dx depends on whether dw is wanted");
                   return y;
                 },
                 {1e-5, 2e-6});
      }
}

void test_linear_cross_entropy(int64_t classes, double softcap, double smoothing, int64_t chunk) {
  const int64_t rows = 37, dim = 24;
  Mat<int32_t> labels(1, rows);
  for (size_t i = 0; i < size_t(rows); ++i) labels[i] = i % 5 == 3 ? -100 : int32_t(rnd.uniform() * double(classes));
  const Mats<double> in = {random_mat(rnd, rows, dim), random_mat(rnd, classes, dim), random_mat(rnd, 1, classes, 2)};
  const LinearCrossEntropy options = {-100, smoothing, 1.0 / 30, softcap, smoothing / 10, chunk, Compute::F32};
  check_op("linear cross entropy", in,
           [&](const auto& x) {
             using M = std::decay_t<decltype(x[0])>;
             std::vector<M> y = {M(1, 1), M(1, 1), M(rows, dim)};
             cpu::linear_cross_entropy(y[0].flat(), View{}, x[0].view(), x[1].view(), x[2].flat(), labels.flat(),
                                       options);
             cpu::linear_cross_entropy(y[1].flat(), y[2].view(), x[0].view(), x[1].view(), x[2].flat(), labels.flat(),
                                       options);
             expect(y[0][0] == y[1][0], "linear cross entropy: the loss depends on whether dx is wanted");
             return y;
           },
           {1e-5, 3e-6});
}

void test_cross_entropy(int64_t classes, bool weighted, double smoothing, double spread) {
  const int64_t rows = 67;
  Mat<int32_t> labels(1, rows);
  for (size_t i = 0; i < size_t(rows); ++i) labels[i] = i % 5 == 3 ? -100 : int32_t(rnd.uniform() * double(classes));
  Mats<double> in = {random_mat(rnd, rows, classes, spread), Mat<double>(1, classes)};
  for (size_t i = 0; i < size_t(classes); ++i) in[1][i] = double(float(0.5 + rnd.uniform()));
  if (spread > 100) in[0][1] = -INFINITY, labels[0] = 0;
  const CrossEntropy options = {-100, smoothing, 1.0 / 50};
  const auto forward = [&](const auto& x) {
    using M = std::decay_t<decltype(x[0])>;
    std::vector<M> y = {M(1, 1), M(1, rows)};
    cpu::cross_entropy(y[0].view(), y[1].flat(), x[0].view(), labels.flat(), weighted ? x[1].flat() : View{}, options);
    return y;
  };
  const auto backward = [&](const auto& x, double upstream) {
    using M = std::decay_t<decltype(x[0])>;
    auto y = forward(x);
    y.push_back(M(rows, classes));
    M dloss(1, 1);
    dloss[0] = std::decay_t<decltype(x[0][0])>(upstream);
    cpu::cross_entropy_backward(y[2].view(), dloss.view(), x[0].view(), labels.flat(), weighted ? x[1].flat() : View{},
                                y[1].flat(), options);
    return y;
  };
  // p = e^(x - lse) takes over lse's own rounding.
  const double relative = spread > 100 ? 3e-4 : 1e-5;
  check_op("cross entropy", in, [&](const auto& x) { return backward(x, 0.5); }, {relative, 2e-6});
  if (spread > 100 || classes > 20) return;
  check_gradient(
      "cross entropy", {in[0]},
      [&](const Mats<double>& x) {
        return forward(Mats<double>{x[0], in[1]})[0];
      },
      [&](const Mats<double>& x, const Mat<double>& seed) {
        return Mats<double>{backward(Mats<double>{x[0], in[1]}, seed[0])[2]};
      });
}

void test_bce() {
  Mats<double> in = {random_mat(rnd, 67, 7, 3), Mat<double>(67, 7), Mat<double>(1, 7)};
  for (size_t i = 0; i < in[1].size(); ++i) in[1][i] = rnd.uniform() < 0.5;
  for (size_t i = 0; i < 7; ++i) in[2][i] = 1.5, in[0][i] = i % 2 ? 1e4 : -1e4;
  const auto both = [&](const auto& x, double upstream) {
    using M = std::decay_t<decltype(x[0])>;
    std::vector<M> y = {M(1, 1), M(67, 7)};
    M dloss(1, 1);
    dloss[0] = std::decay_t<decltype(x[0][0])>(upstream);
    cpu::bce(y[0].view(), x[0].view(), x[1].view(), x[2].flat(), 0.1);
    cpu::bce_backward(y[1].view(), dloss.view(), x[0].view(), x[1].view(), x[2].flat(), 0.1);
    return y;
  };
  check_op("bce", in, [&](const auto& x) { return both(x, 1); }, {1e-6, 1e-6});
  for (size_t i = 0; i < 7; ++i) in[0][i] = 0.3;
  check_gradient(
      "bce", {in[0]},
      [&](const Mats<double>& x) {
        return both(Mats<double>{x[0], in[1], in[2]}, 1)[0];
      },
      [&](const Mats<double>& x, const Mat<double>& seed) {
        return Mats<double>{both(Mats<double>{x[0], in[1], in[2]}, seed[0])[1]};
      });
}

void test_losses() {
  for (const int64_t classes : {2, 7, 1000})
    for (const bool weighted : {false, true})
      for (const double smoothing : {0.0, 0.1}) test_cross_entropy(classes, weighted, smoothing, 2);
  test_cross_entropy(100, true, 0, 1000);
  for (const int64_t classes : values({2, 7, 1003}, {7, 103}))
    for (const double softcap : {0.0, 4.0})
      for (const int64_t chunk : {5, 64}) test_linear_cross_entropy(classes, softcap, chunk == 5 ? 0.1 : 0, chunk);
  test_bce();
}

struct AttentionCase {
  std::vector<int32_t> lengths;
  AttentionShape shape;
  int32_t keep;
  double spread;
  std::vector<int32_t> key_lengths = {};  // of other sequences; none: the queries' own
  bool bias = false;
};

Mat<int32_t> starts_of(const std::vector<int32_t>& lengths) {
  Mat<int32_t> starts(1, int64_t(lengths.size()) + 1);
  for (size_t i = 0; i < lengths.size(); ++i) starts[i + 1] = starts[i] + lengths[i];
  return starts;
}

int64_t longest(const std::vector<int32_t>& lengths) {
  int64_t most = 0;
  for (const int32_t n : lengths) most = n > most ? n : most;
  return most;
}

// inputs q, k, v, dy, bias -> o, lse, dq, dk, dv; outputs hold NaN before
template <typename T>
Mats<T> run_attention(const AttentionCase& c, const Mats<T>& x) {
  const Mat<int32_t> starts = starts_of(c.lengths), key_starts = starts_of(c.key_lengths);
  const View keys = c.key_lengths.empty() ? View{} : key_starts.flat(), bias = c.bias ? x[4].view() : View{};
  Dropout dropout = some_dropout(c.keep);
  const int64_t tokens = x[0].rows;
  Mats<T> y = {Mat<T>(tokens, x[0].cols), Mat<T>(tokens, c.shape.heads), Mat<T>(tokens, x[0].cols),
               Mat<T>(x[1].rows, x[1].cols), Mat<T>(x[1].rows, x[1].cols)};
  for (const auto& m : y)
    for (size_t i = 0; i < m.size(); ++i) m[i] = NAN;
  cpu::attention(y[0].view(), y[1].view(), x[0].view(), x[1].view(), x[2].view(), starts.flat(), keys, bias, c.shape,
                 dropout);
  cpu::attention_backward(y[2].view(), y[3].view(), y[4].view(), x[3].view(), x[0].view(), x[1].view(), x[2].view(),
                          y[0].view(), y[1].view(), starts.flat(), keys, bias, c.shape, dropout);
  return y;
}

Mats<double> attention_inputs(const AttentionCase& c) {
  const auto& of_keys = c.key_lengths.empty() ? c.lengths : c.key_lengths;
  int64_t tokens = 0, keys = 0;
  for (const int32_t n : c.lengths) tokens += n;
  for (const int32_t n : of_keys) keys += n;
  const int64_t distances = 2 * std::max(longest(c.lengths), longest(of_keys)) - 1;
  const int64_t q = int64_t(c.shape.heads) * c.shape.head_dim, k = int64_t(c.shape.kv_heads) * c.shape.head_dim;
  return {random_mat(rnd, tokens, q, c.spread), random_mat(rnd, keys, k, c.spread), random_mat(rnd, keys, k),
          random_mat(rnd, tokens, q), random_mat(rnd, c.shape.heads, distances)};
}

AttentionCase attention_case(std::vector<int32_t> lengths, int32_t heads, int32_t kv_heads, int32_t dim, bool causal,
                             int32_t keep, double spread = 1) {
  return {lengths, {heads, kv_heads, dim, causal, longest(lengths), 512, 1 / std::sqrt(double(dim))}, keep, spread};
}

// Windows, soft-caps, position bias, keys of other sequences and what they make together, over several blocks.
void test_attention_features() {
  const std::vector<int32_t> lengths = {300, 1, 0, 70, 5, 64}, other = {40, 131, 9, 0, 290, 200};
  for (const int64_t window : values({0, 2, 7, 100, 129, 1000}, {7, 129}))
    for (const bool causal : {false, true})
      for (const int mode : {0, 1, 2, 3}) {
        AttentionCase c = attention_case(lengths, 4, mode % 2 ? 2 : 4, mode == 2 ? 72 : 16, causal, mode ? 230 : 256);
        c.shape.window = window, c.shape.softcap = mode % 2 ? 1.5 : 0;
        c.bias = mode >= 2;
        if (mode == 3) c.key_lengths = other, c.shape.max_keys = longest(other);
        check_op("attention in window " + std::to_string(window) + ", mode " + std::to_string(mode),
                 attention_inputs(c), [&](const auto& x) { return run_attention(c, x); }, {1e-5, 4e-6});
      }
  AttentionCase wide = attention_case({150, 20}, 2, 1, 256, true, 256);
  wide.shape.window = 40, wide.bias = true;
  check_op("attention of wide heads", attention_inputs(wide), [&](const auto& x) { return run_attention(wide, x); },
           {1e-5, 4e-6});
}

// Caches in bf16 hold values that bf16 has, so that they are the reference's own.
void test_attention_decode() {
  const Mat<int32_t> lengths(1, 4, {0, 1, 37, 300});
  const int64_t page = 7, most = 43, count = 4 * most;  // 301 keys of a row
  Mat<int32_t> pages(4, most);
  for (int64_t i = 0; i < count; ++i) pages[size_t(i)] = int32_t((i * 29 + 5) % count);
  const auto narrowed = [](const auto& x) {
    Mat<uint16_t> y(x.rows, x.cols);
    for (size_t i = 0; i < x.size(); ++i) y[i] = cpu::to_bf16(float(x[i])).bits;
    return y;
  };
  for (const int32_t dim : {3, 20, 64, 100, 256})
    for (const int64_t window : {0, 50})
      for (const bool bf16 : {false, true}) {
        AttentionShape shape = {4, 2, dim, 0, 0, 0, 1 / std::sqrt(double(dim))};
        shape.window = window, shape.softcap = dim == 20 ? 2 : 0;
        Mats<double> in = {random_mat(rnd, 4, 4 * dim), random_mat(rnd, count * page, 2 * dim),
                           random_mat(rnd, count * page, 2 * dim), random_mat(rnd, 4, 2 * most * page - 1)};
        for (size_t t : {1, 2})
          for (size_t i = 0; bf16 && i < in[t].size(); ++i) in[t][i] = cpu::widen(cpu::to_bf16(float(in[t][i])));
        check_op("attention decode", in,
                 [&](const auto& x) {
                   using M = std::decay_t<decltype(x[0])>;
                   std::vector<M> y = {M(4, 4 * dim)};
                   Mat<uint16_t> narrow[2] = {narrowed(x[1]), narrowed(x[2])};
                   View caches[2] = {x[1].view(), x[2].view()};
                   for (int t = 0; t < 2; ++t) {
                     if (bf16 && caches[t].dtype == DType::F32)
                       caches[t].data = narrow[t].data(), caches[t].dtype = DType::BF16;
                     caches[t].rank = 3;
                     caches[t].dims[0] = count, caches[t].dims[1] = page, caches[t].dims[2] = 2 * dim;
                   }
                   for (size_t i = 0; i < y[0].size(); ++i) y[0][i] = NAN;
                   cpu::attention_decode(y[0].view(), x[0].view(), caches[0], caches[1], lengths.flat(), pages.view(),
                                         dim == 64 ? x[3].view() : View{}, shape);
                   return y;
                 },
                 {1e-5, 4e-6});
      }
}

void test_cache_write() {
  const int64_t width = 19, rows = 5;
  const Mat<int32_t> slots(1, rows, {7, 0, 3, 11, 4});
  const Mats<double> in = {random_mat(rnd, rows, width), random_mat(rnd, rows, width)};
  check_op("cache write", in,
           [&](const auto& x) {
             using M = std::decay_t<decltype(x[0])>;
             std::vector<M> y = {M(12, width), M(12, width)};
             View caches[2] = {y[0].view(), y[1].view()};
             for (View& cache : caches) cache.rank = 3, cache.dims[0] = 4, cache.dims[1] = 3, cache.dims[2] = width;
             cpu::cache_write(caches[0], caches[1], x[0].view(), x[1].view(), slots.flat());
             for (int64_t i = 0; i < rows * width; ++i)
               for (size_t t : {0, 1})
                 expect(y[t][size_t(slots[size_t(i / width)] * width + i % width)] == x[t][size_t(i)], "cache write");
             return y;
           },
           {0, 0});
}

void test_attention() {
  test_attention_decode();
  test_cache_write();
  const std::vector<int32_t> ragged = {1, 17, 0, 64, 130, 65, 0};
  for (const int64_t size : values({8, 20, 32, 64, 80, 128}, {20, 80}))
    for (const bool causal : {false, true}) {
      const auto dim = int32_t(size);
      const AttentionCase c = attention_case(ragged, 4, dim == 32 ? 2 : 4, dim, causal, dim == 80 ? 256 : 230);
      check_op("attention " + std::to_string(dim), attention_inputs(c),
               [&](const auto& x) { return run_attention(c, x); }, {1e-5, 4e-6});
    }
  for (const bool causal : {false, true}) {  // several blocks, the two-pass backward, grouped heads
    const AttentionCase c = attention_case({300}, 2, 1, 16, causal, 230);
    check_op("long attention", attention_inputs(c), [&](const auto& x) { return run_attention(c, x); }, {1e-5, 4e-6});
  }
  {
    AttentionCase c = attention_case({40, 3}, 2, 2, 16, false, 256, 30);
    check_op("attention to large logits", attention_inputs(c), [&](const auto& x) { return run_attention(c, x); },
             {1e-3, 1e-3});
    Mats<double> in = attention_inputs(c);  // scores of -infinity, some of them everywhere
    for (size_t i = 0; i < in[1].size(); ++i) in[1][i] = 1;
    for (int64_t i = 0; i < 16; ++i) in[0][size_t(5 * 32 + i)] = i ? 0 : -INFINITY;
    check_op("fully masked attention", in,
             [&](const auto& x) {
               auto y = run_attention(c, x);
               y.resize(2);
               return y;
             },
             {1e-4, 1e-4});
  }
  test_attention_features();
  for (const bool causal : {false, true}) {
    const AttentionCase c = attention_case({5, 0, 3}, 2, 1, 3, causal, 200);
    const Mats<double> in = attention_inputs(c);
    check_gradient(
        "attention", {in[0], in[1], in[2]},
        [&](const Mats<double>& x) {
          return run_attention(c, Mats<double>{x[0], x[1], x[2], in[3]})[0];
        },
        [&](const Mats<double>& x, const Mat<double>& seed) {
          const Mats<double> y = run_attention(c, Mats<double>{x[0], x[1], x[2], seed});
          return Mats<double>{y[2], y[3], y[4]};
        });
  }
}
