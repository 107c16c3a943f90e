// Finds the server name in the first bytes that a TLS client sends. No I/O, nothing is decrypted.
//
// By hand and not by OpenSSL: that reads a ClientHello only as the server of a handshake, with a state for each
// connection and an answer of its own. The name stands in clear text behind four lengths.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mcpbox::egress {

// Of the records together, headers included.
inline constexpr std::size_t kMaxClientHello = 16u << 10;

struct ClientHello {
  enum class State {
    kNeedMore,   // so far it can be a ClientHello
    kNotTls,     // the first bytes are no TLS handshake record
    kMalformed,  // it claims to be one but cannot be read, or is too long
    kComplete,
  };
  State state = State::kNeedMore;
  // As sent; empty when the client names none. With Encrypted Client Hello it is the outer name.
  std::string server_name;
};

// Reads from the start each time: pass all bytes so far. A ClientHello may span several records (RFC 8446 §5.1); two
// server names or two such extensions are malformed (RFC 6066 §3).
ClientHello parse_client_hello(std::string_view bytes);

}  // namespace mcpbox::egress
