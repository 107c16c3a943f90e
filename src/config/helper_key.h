// What a `${helper:NAME:KEY}` asks (config/credential_helper.h).
#pragma once

#include <compare>
#include <map>
#include <string>

#include "base/result.h"
#include "base/secret.h"

namespace mcpbox::config {

struct HelperKey {
  std::string name;
  std::string key;
  auto operator<=>(const HelperKey&) const = default;
};

// What was asked, and what came of it.
using HelperAnswers = std::map<HelperKey, Result<Secret>>;

}  // namespace mcpbox::config
