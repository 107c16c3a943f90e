#include "config/keys.h"

#include <algorithm>
#include <array>

#include "config/sections.h"

namespace mcpbox::config {
namespace {

std::array<KeyTable, 3> tables() {
  return {top_keys(), server_keys(), network_keys()};
}

}  // namespace

bool is_variable_name(std::string_view name) {
  if (name.empty() || (name.front() >= '0' && name.front() <= '9')) return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::vector<Section> sections() {
  std::vector<Section> all;
  for (const KeyTable& table : tables()) all.insert(all.end(), table.sections.begin(), table.sections.end());
  return all;
}

std::span<const std::string_view> keys_of(std::string_view section) {
  for (const KeyTable& table : tables()) {
    for (const Section& s : table.sections) {
      if (s.name == section) return s.keys;
    }
  }
  return {};
}

std::string_view hint_for(std::string_view section, std::string_view key) {
  for (const KeyTable& table : tables()) {
    for (const Hint& hint : table.hints) {
      if (hint.section == section && hint.key == key) return hint.text;
    }
  }
  return {};
}

}  // namespace mcpbox::config
