#include "box/wire/messages.h"

#include "base/errno_error.h"

namespace mcpbox::box::wire {

// The numbers are on the wire: a new code goes to the end.
static_assert(static_cast<int>(Code::kInvalidArgument) == 0 && static_cast<int>(Code::kUnavailable) == 8 &&
              static_cast<int>(Code::kInternal) == 13);

ErrorReply make_error(Code code, std::string step, std::string text) {
  return {static_cast<std::uint8_t>(code), 0, std::move(step), std::move(text)};
}

ErrorReply make_errno_error(int error_number, std::string step) {
  return {static_cast<std::uint8_t>(code_of_errno(error_number)), error_number, std::move(step), {}};
}

Code code_of(const ErrorReply& error) {
  return error.code <= static_cast<std::uint8_t>(Code::kInternal) ? static_cast<Code>(error.code) : Code::kInternal;
}

}  // namespace mcpbox::box::wire
