#pragma once
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "core/blocks.h"
#include "core/error.h"
#include "core/tensor.h"

namespace lowrank::js {

// Bytes of an open file, read piece by piece: never in memory as a whole. Mapped, a file that somebody cuts would end
// the process by SIGBUS; read, it is an error.
class FileRegion {
 public:
  FileRegion(int file, int64_t position, int64_t bytes, int64_t file_size) : position_(position), size_(bytes) {
    struct stat now;
    check(fstat(file, &now) == 0, Code::Option, "uploadFile: the file is not open");
    check(now.st_size == file_size, Code::Option, "uploadFile: the file had ", file_size, " bytes when opened, has ",
          int64_t(now.st_size), " now; load it again");
    check(position >= 0 && bytes > 0 && bytes <= file_size && position <= file_size - bytes, Code::Option,
          "uploadFile: bytes ", position, " to ", position + bytes, " of a file of ", file_size);
    file_ = dup(file);
    check(file_ >= 0, Code::Option, "uploadFile: too many files are open");
  }
  FileRegion(FileRegion&& other) noexcept
      : file_(std::exchange(other.file_, -1)), position_(other.position_), size_(other.size_) {}
  FileRegion(const FileRegion&) = delete;
  FileRegion& operator=(const FileRegion&) = delete;
  ~FileRegion() {
    if (file_ >= 0) close(file_);
  }

  // visit(bytes, offset in the region, count), in order, until it returns false.
  template <typename F>
  void each_piece(F visit) const {
    const auto piece = std::make_unique<char[]>(size_t(std::min<int64_t>(size_, PIECE)));
    for (int64_t at = 0; at < size_; at += PIECE) {
      const int64_t count = std::min<int64_t>(size_ - at, PIECE);
      read_all(piece.get(), position_ + at, count);
      if (!visit(piece.get(), at, size_t(count))) return;
    }
  }

 private:
  static constexpr int64_t PIECE = 1 << 20;  // a multiple of every element's size

  void read_all(char* to, int64_t from, int64_t count) const {
    while (count > 0) {
      const ssize_t got = pread(file_, to, size_t(count), off_t(from));
      if (got < 0 && errno == EINTR) continue;
      check(got > 0, Code::Option, "uploadFile: the file ends at ", from,
            got == 0 ? ", it was cut while it was read" : ", it cannot be read on", "; load it again");
      to += got, from += got, count -= got;
    }
  }

  int file_ = -1;
  int64_t position_, size_;
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

inline bool is_finite_piece(const char* data, size_t bytes, DType dtype) {
  switch (dtype) {
    case DType::F32: return !has_ones<uint32_t>(data, bytes, 0x7f800000u);
    case DType::F64: return !has_ones<uint64_t>(data, bytes, 0x7ff0000000000000ull);
    case DType::BF16: return !has_ones<uint16_t>(data, bytes, 0x7f80);
    case DType::F16: return !has_ones<uint16_t>(data, bytes, 0x7c00);
    default: return true;
  }
}

// Of blocks the scales alone are floats. Bytes of a piece that begins `at` bytes after the first block; both are even,
// so that no f16 lies across two pieces.
inline bool is_finite_blocks(const char* data, int64_t at, size_t bytes, DType dtype) {
  const BlockFormat format = block_format(dtype);
  for (const int64_t scale : format.scales) {
    if (scale < 0) continue;
    const int64_t past = at % format.bytes, first = scale >= past ? scale - past : scale - past + format.bytes;
    for (int64_t i = first; i + 2 <= int64_t(bytes); i += format.bytes)
      if (has_ones<uint16_t>(data + i, 2, 0x7c00)) return false;
  }
  return true;
}

inline bool is_finite(const FileRegion& region, DType dtype) {
  bool finite = true;
  region.each_piece([&](const char* data, int64_t at, size_t count) {
    return finite = is_blocks(dtype) ? is_finite_blocks(data, at, count, dtype) : is_finite_piece(data, count, dtype);
  });
  return finite;
}

}  // namespace lowrank::js
