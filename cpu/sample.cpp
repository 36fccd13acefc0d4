#include <algorithm>
#include <numeric>

#include "core/kernels.h"
#include "core/sampling.h"
#include "cpu/dispatch.h"
#include "cpu/philox.h"
#include "cpu/pieces.h"

namespace lowrank {
namespace {

using namespace cpu;

// A row's tokens in falling order of logits, equal ones by id; the first `kept` of them are drawn from.
struct Ranking {
  std::vector<uint32_t> keys;
  std::vector<int32_t> order;

  uint64_t weight(size_t rank, float scale) const {
    const uint32_t key = keys[size_t(order[rank])], largest = keys[size_t(order[0])];
    if (key == largest) return sampling::WHOLE;
    return sampling::weight((float_of(sampling::bits_of(largest)) - float_of(sampling::bits_of(key))) * scale);
  }
};

template <typename T>
Ranking rank(const T* logits, int64_t count) {
  Ranking ranking;
  for (int64_t i = 0; i < count; ++i) ranking.keys.push_back(sampling::key_of(bits_of(float(logits[i]))));
  ranking.order.resize(size_t(count));
  std::iota(ranking.order.begin(), ranking.order.end(), 0);
  std::stable_sort(ranking.order.begin(), ranking.order.end(),
                   [&](int32_t a, int32_t b) { return ranking.keys[size_t(a)] > ranking.keys[size_t(b)]; });
  return ranking;
}

// The first rank at which the sum of weights reaches `target`.
size_t reach(const Ranking& ranking, float scale, uint64_t target) {
  uint64_t sum = 0;
  for (size_t rank = 0;; ++rank) {
    sum += ranking.weight(rank, scale);
    if (sum >= target) return rank;
  }
}

int32_t draw(const Ranking& ranking, const Sampling& o, uint32_t random) {
  if (o.temperature <= 0) return ranking.order[0];
  const float scale = o.scale();
  size_t kept = ranking.order.size();
  if (o.top_k > 0) kept = std::min(kept, size_t(o.top_k));
  const auto total = [&] {
    uint64_t sum = 0;
    for (size_t rank = 0; rank < kept; ++rank) sum += ranking.weight(rank, scale);
    return sum;
  };
  if (o.top_p < 1) kept = reach(ranking, scale, sampling::nucleus(total(), o.top_p)) + 1;
  return ranking.order[reach(ranking, scale, sampling::share(total(), random) + 1)];
}

}  // namespace

void cpu::sample(View ids, View logits, Sampling options) {
  dispatch(logits, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(logits.rows(), 1, [&](int64_t row, int64_t, int64_t) {
      uint32_t words[4];
      philox(options.random, uint64_t(options.random.row_offset + row), 0, words);
      const Ranking ranking = rank(logits.as<T>() + row * logits.cols(), logits.cols());
      ids.as<int32_t>()[row] = draw(ranking, options, words[0]);
    });
  });
}

}  // namespace lowrank
