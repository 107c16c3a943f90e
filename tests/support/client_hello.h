// Makes TLS ClientHello bytes for tests.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mcpbox::test {

inline std::string number(std::size_t value, unsigned bytes) {
  std::string out;
  for (unsigned i = bytes; i-- > 0;) out += static_cast<char>(value >> (8 * i) & 0xff);
  return out;
}

inline std::string extension(std::size_t type, std::string_view data) {
  return number(type, 2) + number(data.size(), 2) + std::string(data);
}

inline std::string server_name_extension(std::string_view name) {
  const std::string entry = number(0, 1) + number(name.size(), 2) + std::string(name);
  return extension(0, number(entry.size(), 2) + entry);
}

// The handshake message without records.
inline std::string hello_message(const std::string& extensions) {
  std::string body =
      "\x03\x03" + std::string(32, 'r') + number(0, 1) + number(2, 2) + "\x13\x01" + number(1, 1) + number(0, 1);
  body += number(extensions.size(), 2) + extensions;
  return number(1, 1) + number(body.size(), 3) + body;
}

// `message` as handshake records of at most `piece` bytes each.
inline std::string records(const std::string& message, std::size_t piece = 16384) {
  std::string out;
  for (std::size_t at = 0; at < message.size(); at += piece) {
    const std::string part = message.substr(at, piece);
    out += "\x16\x03\x01" + number(part.size(), 2) + part;
  }
  return out;
}

inline std::string client_hello(std::string_view server_name, std::size_t piece = 16384) {
  const std::string supported = extension(43, std::string("\x02\x03\x04", 3));
  return records(hello_message(supported + (server_name.empty() ? "" : server_name_extension(server_name))), piece);
}

}  // namespace mcpbox::test
