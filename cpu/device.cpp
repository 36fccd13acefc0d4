#include "core/device.h"

#include <cstring>
#include <new>

namespace lowrank {
namespace {

void* allocate(int, size_t bytes) { return ::operator new(bytes, std::align_val_t(256), std::nothrow); }
void release(int, void* data, size_t) { ::operator delete(data, std::align_val_t(256)); }
void copy_bytes(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }

}  // namespace

const Backend cpu::backend = {allocate, release, nullptr, nullptr, copy_bytes, copy_bytes};

}  // namespace lowrank
