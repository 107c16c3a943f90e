// Errors as values: Result<T> = std::expected<T, Error>.
//
// Header-only and free of other libraries, because the static mcpbox-init uses it too.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace mcpbox {

// What kind of failure it was; callers branch on this and never on the text. The names are those of gRPC's canonical
// codes.
enum class Code {
  kInvalidArgument,     // the request itself is wrong; repeating it cannot help
  kNotFound,            // the named thing is not there
  kAlreadyExists,       //
  kPermissionDenied,    // a policy or the operating system refused
  kUnauthenticated,     //
  kResourceExhausted,   // a quota or a limit; disk full
  kFailedPrecondition,  // the system is not in the state that the call needs
  kAborted,             // a concurrent change won; the caller may start over
  kUnavailable,         // the peer cannot be reached now; trying again later can help
  kTimeout,             // the deadline passed before an answer came
  kCancelled,           // the caller gave up
  kDataLoss,            // the peer sent something that cannot be parsed or trusted
  kUnsupported,         // this engine, kernel or peer cannot do it
  kInternal,            // a broken invariant of ours
};

// The code's name as it is printed and as it stands in JSON ("invalid_argument").
constexpr std::string_view code_name(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
      return "invalid_argument";
    case Code::kNotFound:
      return "not_found";
    case Code::kAlreadyExists:
      return "already_exists";
    case Code::kPermissionDenied:
      return "permission_denied";
    case Code::kUnauthenticated:
      return "unauthenticated";
    case Code::kResourceExhausted:
      return "resource_exhausted";
    case Code::kFailedPrecondition:
      return "failed_precondition";
    case Code::kAborted:
      return "aborted";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kTimeout:
      return "timeout";
    case Code::kCancelled:
      return "cancelled";
    case Code::kDataLoss:
      return "data_loss";
    case Code::kUnsupported:
      return "unsupported";
    case Code::kInternal:
      return "internal";
  }
  return "internal";
}

// One failure. `message` says what happened, to what, and what to do next, in that order, on one line where possible.
class Error {
 public:
  Error(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  Code code() const { return code_; }
  const std::string& message() const { return message_; }

  // Puts "context: " in front, on the way up: `return std::move(e).with_context("server 'x'")`.
  Error with_context(std::string_view context) && {
    message_.insert(0, std::string(context) + ": ");
    return std::move(*this);
  }
  Error with_context(std::string_view context) const& { return Error(*this).with_context(context); }

 private:
  Code code_;
  std::string message_;
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Code code, std::string message) {
  return std::unexpected<Error>(Error(code, std::move(message)));
}
inline std::unexpected<Error> fail(Error error) {
  return std::unexpected<Error>(std::move(error));
}

}  // namespace mcpbox
