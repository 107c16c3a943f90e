#include "provision/identity.h"

#include <cstdint>

#include "base/digest.h"

namespace mcpbox::provision {
namespace {

// 60 bits of the text's digest.
std::uint64_t number_of(std::string_view text) {
  std::uint64_t number = 0;
  for (const char c : sha256_hex(text).substr(0, 15))
    number = number * 16 + static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
  return number;
}

uid_t within(const UidPart& part, std::string_view text) {
  return part.count == 0 ? part.first : part.first + static_cast<uid_t>(number_of(text) % part.count);
}

}  // namespace

UidPart server_part(const box::UidRange& range) {
  return {range.first, static_cast<uid_t>(std::uint64_t{range.count} * 133 / 233)};
}

UidPart installer_part(const box::UidRange& range) {
  const UidPart servers = server_part(range);
  return {range.first + servers.count, range.count - servers.count};
}

uid_t preferred_server_uid(std::string_view instance, std::string_view server, const box::UidRange& range) {
  return within(server_part(range), std::string(instance) + '\0' + std::string(server));
}

uid_t preferred_code_uid(std::string_view instance, std::string_view server, const box::UidRange& range) {
  return within(installer_part(range), std::string("code") + '\0' + std::string(instance) + '\0' + std::string(server));
}

uid_t preferred_installer_uid(std::string_view hash, const box::UidRange& range) {
  return within(installer_part(range), hash);
}

}  // namespace mcpbox::provision
