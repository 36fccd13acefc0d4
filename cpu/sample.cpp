#include <algorithm>
#include <numeric>

#include "core/kernels.h"
#include "core/sampling.h"
#include "cpu/dispatch.h"
#include "cpu/half.h"
#include "cpu/philox.h"
#include "cpu/pieces.h"

namespace lowrank {
namespace {

using namespace cpu;

// A row's tokens in falling order of logits, equal ones by id: sorted only as far as somebody looks.
class Ranking {
 public:
  template <typename T>
  Ranking(const T* logits, int64_t count) : keys_(size_t(count)), order_(size_t(count)) {
    for (size_t i = 0; i < keys_.size(); ++i) keys_[i] = sampling::key_of(bits_of(float(logits[i])));
    std::iota(order_.begin(), order_.end(), 0);
    largest_ = *std::max_element(keys_.begin(), keys_.end());
  }

  size_t size() const { return order_.size(); }

  int32_t first() const { return int32_t(std::find(keys_.begin(), keys_.end(), largest_) - keys_.begin()); }

  int32_t at(size_t rank) {
    for (; sorted_ <= rank; sorted_ = next_) {
      next_ = std::min(size(), std::max(4 * sorted_, FEW));
      std::partial_sort(order_.begin() + int64_t(sorted_), order_.begin() + int64_t(next_), order_.end(),
                        [&](int32_t a, int32_t b) {
                          return keys_[size_t(a)] != keys_[size_t(b)] ? keys_[size_t(a)] > keys_[size_t(b)] : a < b;
                        });
    }
    return order_[rank];
  }

  uint64_t weight(size_t rank, float scale) { return weight_of(keys_[size_t(at(rank))], scale); }

  // Of the first `kept`; sums of integers, which no order changes.
  uint64_t total(size_t kept, float scale) {
    uint64_t sum = 0;
    if (kept == size())
      for (const uint32_t key : keys_) sum += weight_of(key, scale);
    else
      for (size_t rank = 0; rank < kept; ++rank) sum += weight(rank, scale);
    return sum;
  }

  // The first rank at which the sum of weights reaches `target`.
  size_t reach(float scale, uint64_t target) {
    uint64_t sum = 0;
    for (size_t rank = 0;; ++rank) {
      sum += weight(rank, scale);
      if (sum >= target) return rank;
    }
  }

 private:
  static constexpr size_t FEW = 64;

  uint64_t weight_of(uint32_t key, float scale) const {
    if (key == largest_) return sampling::WHOLE;
    return sampling::weight((float_of(sampling::bits_of(largest_)) - float_of(sampling::bits_of(key))) * scale);
  }

  std::vector<uint32_t> keys_;
  std::vector<int32_t> order_;
  uint32_t largest_;
  size_t sorted_ = 0, next_ = 0;
};

int32_t draw(Ranking& ranking, const Sampling& o, uint32_t random) {
  if (o.temperature <= 0) return ranking.first();
  const float scale = o.scale();
  size_t kept = ranking.size();
  if (o.top_k > 0) kept = std::min(kept, size_t(o.top_k));
  if (o.top_p < 1) kept = ranking.reach(scale, sampling::nucleus(ranking.total(kept, scale), o.top_p)) + 1;
  return ranking.at(ranking.reach(scale, sampling::share(ranking.total(kept, scale), random) + 1));
}

}  // namespace

void cpu::sample(View ids, View logits, Sampling options) {
  if (runs_wide(1, cpu::sample, ids, logits, options)) return;
  dispatch(logits, [&](auto zero) {
    using T = decltype(zero);
    for_pieces(logits.rows(), 1, [&](int64_t row, int64_t, int64_t) {
      uint32_t words[4];
      philox(options.random, uint64_t(options.random.row_offset + row), 0, words);
      Ranking ranking(logits.as<T>() + row * logits.cols(), logits.cols());
      ids.as<int32_t>()[row] = draw(ranking, options, words[0]);
    });
  });
}

}  // namespace lowrank
