#include "provision/identity.h"

#include <cstdint>

#include "base/digest.h"

namespace mcpbox::provision {
namespace {

uid_t server_count(const box::UidRange& range) {
  return static_cast<uid_t>(std::uint64_t{range.count} * 133 / 233);
}

// 60 bits of the text's digest.
std::uint64_t number_of(std::string_view text) {
  std::uint64_t number = 0;
  for (const char c : sha256_hex(text).substr(0, 15))
    number = number * 16 + static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
  return number;
}

}  // namespace

uid_t draw_uid(const box::UidRange& range) {
  return range.first + static_cast<uid_t>(random_below(server_count(range)));
}

uid_t server_uid(std::string_view instance, std::string_view server, const box::UidRange& range) {
  return range.first +
         static_cast<uid_t>(number_of(std::string(instance) + '\0' + std::string(server)) % server_count(range));
}

uid_t installer_uid(std::string_view hash, const box::UidRange& range) {
  const uid_t servers = server_count(range);
  return range.first + servers + static_cast<uid_t>(number_of(hash) % (range.count - servers));
}

uid_t code_uid(std::string_view instance, std::string_view server, const box::UidRange& range) {
  return installer_uid(std::string("code") + '\0' + std::string(instance) + '\0' + std::string(server), range);
}

std::string process_id(std::string_view server) {
  std::string id;
  for (const char c : server.substr(0, 48)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (plain) {
      id += c;
    } else if (c >= 'A' && c <= 'Z') {
      id += static_cast<char>(c - 'A' + 'a');
    } else if (!id.empty() && id.back() != '-') {
      id += '-';
    }
  }
  while (!id.empty() && id.back() == '-') id.pop_back();
  return (id.empty() ? "server" : id) + "-" + sha256_hex(server).substr(0, 8);
}

}  // namespace mcpbox::provision
