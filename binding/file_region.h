#pragma once
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/tensor.h"

namespace lowrank::js {

// Bytes of an open file, mapped for reading. The file must still have the size it had when its header was checked: past
// the end of a shorter one, a read is SIGBUS.
class FileRegion {
 public:
  FileRegion(int file, int64_t position, int64_t bytes, int64_t file_size) : size_(size_t(bytes)) {
    struct stat now;
    check(fstat(file, &now) == 0, Code::Option, "uploadFile: the file is not open");
    check(now.st_size == file_size, Code::Option, "uploadFile: the file had ", file_size, " bytes when opened, has ",
          int64_t(now.st_size), " now; load it again");
    check(position >= 0 && bytes > 0 && bytes <= file_size && position <= file_size - bytes, Code::Option,
          "uploadFile: bytes ", position, " to ", position + bytes, " of a file of ", file_size);
    const int64_t page = sysconf(_SC_PAGESIZE);
    before_ = size_t(position % page);
    void* mapped = mmap(nullptr, before_ + size_, PROT_READ, MAP_PRIVATE, file, off_t(position) - off_t(before_));
    check(mapped != MAP_FAILED, Code::Memory, "uploadFile: ", bytes, " bytes can't be mapped");
    base_ = static_cast<char*>(mapped);
    madvise(base_, before_ + size_, MADV_SEQUENTIAL);
  }
  FileRegion(FileRegion&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)), before_(other.before_), size_(other.size_) {}
  FileRegion(const FileRegion&) = delete;
  FileRegion& operator=(const FileRegion&) = delete;
  ~FileRegion() {
    if (base_) munmap(base_, before_ + size_);
  }

  const char* data() const { return base_ + before_; }
  size_t size() const { return size_; }

 private:
  char* base_ = nullptr;
  size_t before_ = 0, size_;
};

// All ones in the exponent are NaN or infinity.
template <typename Bits>
bool has_ones(const char* data, size_t bytes, Bits mask) {
  constexpr size_t BLOCK = 4096 / sizeof(Bits);
  Bits block[BLOCK];
  for (size_t at = 0; at < bytes; at += sizeof block) {
    const size_t count = (bytes - at < sizeof block ? bytes - at : sizeof block) / sizeof(Bits);
    std::memcpy(block, data + at, count * sizeof(Bits));  // tensors begin at any byte
    bool found = false;
    for (size_t i = 0; i < count; ++i) found |= (block[i] & mask) == mask;
    if (found) return true;
  }
  return false;
}

inline bool is_finite(const char* data, size_t bytes, DType dtype) {
  switch (dtype) {
    case DType::F32: return !has_ones<uint32_t>(data, bytes, 0x7f800000u);
    case DType::F64: return !has_ones<uint64_t>(data, bytes, 0x7ff0000000000000ull);
    case DType::BF16: return !has_ones<uint16_t>(data, bytes, 0x7f80);
    case DType::F16: return !has_ones<uint16_t>(data, bytes, 0x7c00);
    default: return true;
  }
}

}  // namespace lowrank::js
