// errno → Error, with the code that fits.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>

#include "base/result.h"

namespace mcpbox {

constexpr Code code_of_errno(int number) {
  switch (number) {
    case ENOENT:
    case ENOTDIR:
    case ESRCH:
      return Code::kNotFound;
    case EEXIST:
      return Code::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP:
    case EXDEV:
      return Code::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EAGAIN:
      return Code::kResourceExhausted;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
      return Code::kUnavailable;
    case ETIMEDOUT:
      return Code::kTimeout;
    case EINVAL:
    case ENAMETOOLONG:
      return Code::kInvalidArgument;
    case ENOSYS:
    case EOPNOTSUPP:
      return Code::kUnsupported;
    default:
      return Code::kInternal;
  }
}

// "what: strerror(number)". `what` names the object: "open /srv/x".
inline Error errno_error(int number, std::string what) {
  what += ": ";
  what += std::strerror(number);
  return Error(code_of_errno(number), std::move(what));
}

}  // namespace mcpbox
