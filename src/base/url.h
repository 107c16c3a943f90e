// URLs and their percent coding (RFC 3986), read by Boost.URL, which url.cc alone includes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mcpbox {

struct UserInfo {
  std::string name;      // decoded
  std::string password;  // decoded; empty also where there is none
};

// "scheme://user:password@host:port/target".
struct Url {
  std::string scheme;  // lower case
  std::optional<UserInfo> user;
  std::string host;    // as it is written, not decoded, an IPv6 address with its brackets; may be empty
  std::string port;    // digits; empty where there is none. Their range is the caller's to check
  std::string target;  // path, query and fragment as they are written, unchecked; empty or beginning with / ? #

  std::string authority() const;  // host and port
};

// kInvalidArgument when the scheme is missing or the authority cannot be read; the message repeats nothing of the text,
// which may hold a password. Characters that should have been escaped are taken as they are before the last "@", as
// installers and curl take them, and nowhere else.
Result<Url> parse_url(std::string_view text);

enum class Plain {
  kUnreserved,  // letters, digits, "-._~": for a query value or a path segment
  kPath,        // and "/" with all that may stand in a path
};
// Every byte that is not plain as %XX.
std::string percent_encode(std::string_view text, Plain plain = Plain::kUnreserved);

// nullopt where a "%" is not followed by two hexadecimal digits, or a NUL comes out. "+" stays.
std::optional<std::string> percent_decode(std::string_view text);

}  // namespace mcpbox
