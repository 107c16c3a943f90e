#include "base/setting_name.h"

#include <atomic>

namespace mcpbox {
namespace {

std::atomic<SettingsFrom> from_where{SettingsFrom::kFile};

}  // namespace

void set_settings_from(SettingsFrom from) {
  from_where = from;
}

SettingsFrom settings_from() {
  return from_where;
}

std::string_view setting_name(std::string_view key, std::string_view option) {
  return settings_from() == SettingsFrom::kOptions ? option : key;
}

}  // namespace mcpbox
