// The hosts that installs need, by registry, following the mirrors that the user's pip, uv, npm, cargo and go settings
// name.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mcpbox::egress {

// How the user's settings are read: the caller decides what of the machine is visible.
struct SettingsReader {
  std::function<std::optional<std::string>(const std::string& name)> environment;
  std::function<std::optional<std::string>(const std::string& path)> file;  // whole content, bounded by the caller
  std::string home;
};

// Rule texts for "pypi", "npm", "debian", "crates" or "go". A mirror that replaces the public registry replaces its
// hosts. URLs that cannot be read are left out. kInvalidArgument names the presets when there is no such one.
Result<std::vector<std::string>> preset_rules(std::string_view preset, const SettingsReader& settings);

// Replaces each entry that is a preset's name by its rules; the others stay.
Result<std::vector<std::string>> expand_presets(const std::vector<std::string>& entries,
                                                const SettingsReader& settings);

// What the same settings say as environment variables, for tools that see nothing of the user but these: PIP_INDEX_URL,
// PIP_EXTRA_INDEX_URL, UV_DEFAULT_INDEX, UV_INDEX, npm_config_registry, npm_config_@SCOPE:registry. A variable of the
// user wins over a file. Credentials that npm keeps apart from the URL (_authToken) stay out.
std::map<std::string, std::string> registry_variables(const SettingsReader& settings);

}  // namespace mcpbox::egress
