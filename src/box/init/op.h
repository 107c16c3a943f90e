// The outcome of an operation inside mcpbox-init: a value, or the error as it travels to mcpbox.
#pragma once

#include <cerrno>
#include <expected>
#include <string>
#include <utility>

#include "box/wire/messages.h"

namespace mcpbox::box::init {

template <class T>
using Op = std::expected<T, wire::ErrorReply>;

inline std::unexpected<wire::ErrorReply> refuse(Code code, std::string step, std::string text) {
  return std::unexpected(wire::make_error(code, std::move(step), std::move(text)));
}
// With errno, or the number given.
inline std::unexpected<wire::ErrorReply> failed(std::string step, int error_number = errno) {
  return std::unexpected(wire::make_errno_error(error_number, std::move(step)));
}

}  // namespace mcpbox::box::init
