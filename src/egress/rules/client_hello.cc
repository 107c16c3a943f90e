#include "egress/rules/client_hello.h"

#include <cstdint>
#include <optional>

namespace mcpbox::egress {
namespace {

constexpr std::uint8_t kHandshake = 22, kClientHello = 1;
constexpr std::size_t kMaxRecord = 1u << 14;

// Takes bytes from the front; every take fails once one has failed.
class HelloReader {
 public:
  explicit HelloReader(std::string_view bytes) : rest_(bytes) {}
  std::size_t number(unsigned bytes) {
    std::size_t value = 0;
    for (const char c : take(bytes)) value = value << 8 | static_cast<unsigned char>(c);
    return value;
  }
  std::string_view take(std::size_t count) {
    if (failed_ || count > rest_.size()) {
      failed_ = true;
      return {};
    }
    const std::string_view out = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return out;
  }
  std::string_view vector(unsigned length_bytes) { return take(number(length_bytes)); }
  bool empty() const { return rest_.empty(); }
  bool failed() const { return failed_; }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

// nullopt when malformed.
std::optional<std::string> name_of_extension(std::string_view data) {
  HelloReader outer(data);
  HelloReader list(outer.vector(2));
  if (outer.failed() || !outer.empty()) return std::nullopt;
  std::string name;
  while (!list.empty()) {
    const std::size_t type = list.number(1);
    const std::string_view value = list.vector(2);
    if (list.failed() || type != 0 || value.empty() || !name.empty()) return std::nullopt;
    name = value;
  }
  if (name.empty()) return std::nullopt;
  return name;
}

std::optional<std::string> name_of_hello(std::string_view body) {
  HelloReader hello(body);
  hello.take(2 + 32);  // legacy version, random
  hello.vector(1);     // session id
  const std::string_view ciphers = hello.vector(2);
  hello.vector(1);  // compression methods
  if (hello.failed() || ciphers.empty()) return std::nullopt;
  if (hello.empty()) return "";  // no extensions: a client of before 2003
  HelloReader extensions(hello.vector(2));
  if (hello.failed() || !hello.empty()) return std::nullopt;
  std::string name;
  bool seen = false;
  while (!extensions.empty()) {
    const std::size_t type = extensions.number(2);
    const std::string_view data = extensions.vector(2);
    if (extensions.failed()) return std::nullopt;
    if (type != 0) continue;
    if (seen) return std::nullopt;
    seen = true;
    const auto found = name_of_extension(data);
    if (!found) return std::nullopt;
    name = *found;
  }
  return name;
}

}  // namespace

ClientHello parse_client_hello(std::string_view bytes) {
  using State = ClientHello::State;
  const bool full = bytes.size() >= kMaxClientHello;
  ClientHello more{full ? State::kMalformed : State::kNeedMore, ""};
  bytes = bytes.substr(0, kMaxClientHello);
  std::string message;
  while (true) {
    if (!bytes.empty() && static_cast<std::uint8_t>(bytes[0]) != kHandshake)
      return {message.empty() ? State::kNotTls : State::kMalformed, ""};
    if (bytes.size() >= 2 && bytes[1] != 3) return {message.empty() ? State::kNotTls : State::kMalformed, ""};
    if (bytes.size() < 5) return more;
    const std::size_t length =
        static_cast<std::size_t>(static_cast<unsigned char>(bytes[3])) << 8 | static_cast<unsigned char>(bytes[4]);
    if (length == 0 || length > kMaxRecord) return {State::kMalformed, ""};
    message += bytes.substr(5, length);
    if (!message.empty() && static_cast<std::uint8_t>(message[0]) != kClientHello) return {State::kMalformed, ""};
    if (message.size() >= 4) {
      HelloReader header(message);
      header.take(1);
      const std::size_t size = header.number(3);
      if (size > kMaxClientHello) return {State::kMalformed, ""};
      if (message.size() >= size + 4) {
        const auto name = name_of_hello(std::string_view(message).substr(4, size));
        if (!name) return {State::kMalformed, ""};
        return {State::kComplete, *name};
      }
    }
    if (bytes.size() < 5 + length) return more;
    bytes.remove_prefix(5 + length);
  }
}

}  // namespace mcpbox::egress
