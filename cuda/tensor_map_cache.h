#pragma once
// Tensor maps that a queue's thread has made: a training step asks for the same ones again, since its memory comes from
// the same places, and the driver takes longer for one than a look here does. A map is nothing but what it was made of,
// so none is ever stale. One place a hash: a newer map takes an older one's.
#include <cstdint>
#include <cstring>
#include <memory>

namespace lowrank::cuda {

// All that a map depends on, without gaps: it is compared as bytes.
struct TensorMapKey {
  const void* data = nullptr;
  uint64_t dims[3] = {}, strides[3] = {};
  uint32_t box[3] = {};
  int32_t type = 0, swizzle = 0, rank = 0;
};
static_assert(sizeof(TensorMapKey) == 8 + 6 * 8 + 3 * 4 + 3 * 4);

template <typename Map>
class TensorMapCache {
 public:
  // The map of `key`; make() where it isn't here.
  template <typename F>
  Map of(const TensorMapKey& key, F&& make) {
    if (!places_) places_ = std::make_unique<Place[]>(PLACES);
    Place& place = places_[hash(key) % PLACES];
    if (place.filled && std::memcmp(&place.key, &key, sizeof(key)) == 0) return place.map;
    place.map = make();
    place.key = key, place.filled = true;
    ++made_;
    return place.map;
  }
  int64_t made() const { return made_; }

 private:
  static constexpr size_t PLACES = 4096;  // 1 MB; a step of bert-base asks for about 900 different ones
  struct Place {
    Map map;
    TensorMapKey key;
    bool filled = false;
  };
  static uint64_t hash(const TensorMapKey& key) {
    uint64_t words[sizeof(TensorMapKey) / 8], h = 0;
    std::memcpy(words, &key, sizeof(words));
    for (const uint64_t word : words) h = (h ^ word) * 0x9E3779B97F4A7C15u, h ^= h >> 29;
    return h;
  }

  std::unique_ptr<Place[]> places_;
  int64_t made_ = 0;
};

// How many maps this thread has made.
int64_t tensor_maps_made();

}  // namespace lowrank::cuda
