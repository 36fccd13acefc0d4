#pragma once
#include <cstddef>
#include <cstdint>

#include "core/device.h"

// Memory of an op beyond its tensors. It comes from the queue's pool: an op is first measured, on the thread that hands
// it over, where its launches do nothing and its scratch is counted; then that much is lent to it. So the pool's
// counters know of it, and so does the meta device.
namespace lowrank::cuda {

// Who holds it: one at a time each.
enum class Owner : uint8_t {
  Losses,
  Logits,
  Sums,
  Sorted,
  Digits,
  Runs,
  Absmax,
  RowSums,
  Decode,
  Adapters,
  Left,
  Right,
  Pieces
};
constexpr int OWNERS = 13, MOST_OF_AN_OWNER = 4;

// Scratch of one owner for as long as this object lives: until then everything that uses it has to be launched. What is
// launched later, in the same queue, may get the same memory. Contents are undefined; it begins at a multiple of 256.
class Scratch {
 public:
  // `index` tells apart what one owner holds at the same time, below MOST_OF_AN_OWNER.
  explicit Scratch(Owner owner, int index = 0) : owner_(owner), index_(index) {}
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // Once. Throws where the owner holds some already.
  void* take_bytes(size_t bytes);
  template <typename T>
  T* take(int64_t n) {
    return static_cast<T*>(take_bytes(size_t(n) * sizeof(T)));
  }

 private:
  const Owner owner_;
  const int index_;
  void *data_ = nullptr, *own_ = nullptr;  // own_: outside what was lent
  size_t begin_ = 0, end_ = 0;
};

// What a call of `kernel` would take and launch on that device. Nothing runs.
Needs measure(int device, void (*kernel)(void*), void* argument);
// Of the task that this thread runs next. Without it, where kernels are called directly, scratch is allocated.
void lend(void* data, size_t bytes);
bool is_measuring();

// ---- of the device (device.cu)
struct Properties;
const Properties& properties_on(int device);
// Memory in the order of this thread's stream.
void* allocate_scratch(size_t bytes);
void release_scratch(void* data);
// Whether each scratch is allocated apart, whatever was lent: then its bounds and its end are watched.
bool watches_scratch();

// ---- of the measurement under way on this thread, if there is one
void count_launch();
const Properties* measured_properties();

}  // namespace lowrank::cuda
