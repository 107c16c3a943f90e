// What a setting is called by who can change it. Most messages are said to somebody who wrote mcpbox.yaml, to the
// daemon or for it, and name keys; those of `mcpbox run`, and of what it starts, are said to somebody who typed
// options.
#pragma once

#include <string_view>

namespace mcpbox {

enum class SettingsFrom { kFile, kOptions };

// For the whole process, once, before threads are started; kFile without it.
void set_settings_from(SettingsFrom from);
SettingsFrom settings_from();

// The one of the two names that the reader knows: setting_name("box.memory_mb", "--memory").
std::string_view setting_name(std::string_view key, std::string_view option);

}  // namespace mcpbox
