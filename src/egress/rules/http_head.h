// The head of a proxy request: CONNECT host:port, or absolute-form http://. No I/O.
//
// Strict where two readers could differ (RFC 9112 §11): CRLF only, no folding, one Host, one way of framing a body, no
// target but visible ASCII. What leaves for the server is written anew from what was understood.
//
// By hand and not by Beast's parser: that joins folded lines, takes several Hosts and a target with bytes above ASCII,
// and the server behind may read those otherwise than we judged them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "egress/rules/host_name.h"

namespace mcpbox::egress {

inline constexpr std::size_t kMaxHead = 16u << 10;
inline constexpr std::size_t kMaxHeaders = 100;
inline constexpr std::size_t kMaxTarget = 4u << 10;

// What to answer to a head that is refused; `message` is for people and ends up in the body.
struct HeadRefusal {
  unsigned status = 400;
  std::string message;
};

struct BodyFraming {
  enum class Kind { kNone, kLength, kChunked };
  Kind kind = Kind::kNone;
  std::uint64_t length = 0;
};

struct ProxyRequest {
  bool connect = false;
  HostPort target;
  std::string method;
  std::string path;  // origin form, for http://
  unsigned minor_version = 1;
  std::vector<std::pair<std::string, std::string>> headers;  // end to end ones only, as sent; without Host and framing
  BodyFraming body;
  std::optional<std::string> proxy_authorization;
  std::optional<std::uint64_t> max_forwards;  // as it came; 0 = it goes no further than us

  // The head for the server. Host names the target, Max-Forwards is one less (max_forwards must not be 0), and the
  // connection ends after the answer.
  std::string forward_head() const;
};

// The head's length with its empty line once it is complete; nullopt when more bytes are needed. A head that can no
// longer become valid (too long, a line feed without carriage return, NUL) is refused at once.
std::expected<std::optional<std::size_t>, HeadRefusal> head_length(std::string_view bytes);

// `head` is exactly one head with its empty line.
std::expected<ProxyRequest, HeadRefusal> parse_head(std::string_view head);

struct Credential {
  std::string process;
  std::string token;
};
// "Basic base64(process:token)"; nullopt for anything else.
std::optional<Credential> parse_credential(std::string_view value);
// The value for the header from a user name and a password.
std::string basic_credential(std::string_view user, std::string_view password);

}  // namespace mcpbox::egress
