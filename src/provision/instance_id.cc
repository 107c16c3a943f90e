#include "provision/instance_id.h"

#include <string_view>

#include "base/digest.h"

namespace mcpbox::provision {
namespace {

constexpr std::size_t kDigest = 8;

std::string short_name(const std::string& name, std::size_t most) {
  std::string id;
  for (const char c : std::string_view(name).substr(0, most - kDigest - 1)) {
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
  return (id.empty() ? "server" : id) + "-" + sha256_hex(name).substr(0, kDigest);
}

}  // namespace

std::string name_of(const InstanceId& id) {
  return id.key.empty() ? id.server : id.server + "/" + sha256_hex(id.key).substr(0, 16);
}

std::string process_id(const InstanceId& id) {
  return short_name(name_of(id), 57);
}

std::string sandbox_id(const InstanceId& id) {
  return short_name(name_of(id), 40);
}

}  // namespace mcpbox::provision
