#pragma once
#include <stdexcept>
#include <string>
#include <type_traits>

namespace lowrank {

// The codes are part of the public API: they become `error.code` in JavaScript.
enum class Code { Shape, DType, Device, Disposed, Memory, Cuda, Unsupported, Option };

const char* name_of(Code code);

struct Error : std::runtime_error {
  Error(Code code, const std::string& message) : std::runtime_error(message), code(code) {}
  const Code code;
};

// Parts of messages. Every file includes this one, so there are no streams, which compilers take long to read.
inline void append(std::string& message, const std::string& text) { message += text; }
inline void append(std::string& message, const char* text) { message += text; }
void append(std::string& message, double number);  // six digits
template <typename T>
std::enable_if_t<std::is_integral_v<T>> append(std::string& message, T number) {
  message += std::to_string(number);
}

// check(ok, code, "matmul: ", a.shape, " x ", b.shape): the message is only built on failure.
template <typename... Parts>
void check(bool ok, Code code, const Parts&... parts) {
  if (ok) return;
  std::string message;
  (append(message, parts), ...);
  throw Error(code, message);
}

}  // namespace lowrank
