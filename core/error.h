#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace lowrank {

// The codes are part of the public API: they become `error.code` in JavaScript.
enum class Code { Shape, DType, Device, Disposed, Memory, Cuda, Unsupported, Option };

const char* name_of(Code code);

struct Error : std::runtime_error {
  Error(Code code, const std::string& message) : std::runtime_error(message), code(code) {}
  const Code code;
};

// check(ok, code, "matmul: ", a.shape, " x ", b.shape): the message is only built on failure.
template <typename... Parts>
void check(bool ok, Code code, const Parts&... parts) {
  if (ok) return;
  std::ostringstream message;
  (message << ... << parts);
  throw Error(code, message.str());
}

}  // namespace lowrank
