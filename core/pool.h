#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <unordered_map>
#include <utility>

namespace lowrank {

struct Backend;

// Stream-ordered memory: blocks are taken and given back on the JavaScript thread in the order the work is enqueued,
// and a block given back may at once be reused by later work of the same queue, whose order makes it safe. The counters
// depend on that order only, never on timing, so the meta device (no memory behind it) predicts them exactly.
//
// Memory comes from the system in chunks. A request takes the smallest free block that holds it and leaves the rest
// free; a block given back joins its free neighbours. Ragged batches, whose sizes never repeat, then reuse one
// another's memory.
class Pool {
 public:
  // No backend: meta, whose blocks are one address that nobody touches. `drain` returns when the queue is empty.
  Pool(const Backend* backend, int index, std::function<void()> drain = {});
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void* allocate(size_t bytes);
  void release(void* data, size_t bytes);
  // Gives cached blocks back to the system, once the work that may still use them is done.
  void trim();
  void reset_peak() { peak_ = live_; }

  size_t live() const { return live_; }          // bytes in tensors, rounded up to 256 each
  size_t peak() const { return peak_; }          // highest `live` since reset_peak
  size_t reserved() const { return reserved_; }  // bytes held from the system

 private:
  // A piece of a chunk taken from the system; its neighbours in the chunk are known, so that free ones join.
  struct Block {
    char* data;
    size_t size;
    Block* before;
    Block* after;
    bool is_free;
  };

  [[noreturn]] void refuse(size_t asked) const;
  Block* find(size_t size);
  Block* grow(size_t size);
  Block* take_chunk(size_t size);
  void split(Block* block, size_t size);
  Block* join(Block* left, Block* right);
  void free_cached();

  const Backend* backend_;
  const int index_;
  const std::function<void()> drain_;
  size_t limit_ = SIZE_MAX;  // LOWRANK_MEMORY_LIMIT, bytes
  size_t live_ = 0, peak_ = 0, reserved_ = 0;
  std::unordered_map<void*, Block> blocks_;  // by address
  std::set<std::pair<size_t, void*>> free_;  // free blocks, smallest first
};

}  // namespace lowrank
