// What this process must not say. Whoever reads a secret tells it here, and what leaves the process for people goes
// through without_secrets(): the log, error answers and states of the control API, stderr.
//
// For any thread. A secret stays known until the process ends: what an old one was may still be said after it was
// changed.
#pragma once

#include <string>
#include <string_view>

#include "base/secret.h"

namespace mcpbox {

void keep_secret(const Secret& secret);
// Redactor's operator() with all secrets that were told.
std::string without_secrets(std::string_view text);

}  // namespace mcpbox
