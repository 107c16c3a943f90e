// What this process must not say. Whoever reads a secret tells it here. What leaves the process for people goes through
// sentence_without_secrets(), if mcpbox speaks (the log, error answers and states of the control API, stderr), and
// through without_secrets() where somebody else does. What such a one said becomes a part of a sentence by
// from_outside().
//
// For any thread. A secret stays known until the process ends: what an old one was may still be said after it was
// changed.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/secret.h"

namespace mcpbox {

void keep_secret(const Secret& secret);
// Redactor's operator() with all secrets that were told.
std::string without_secrets(std::string_view text);
// Redactor's sentence() with them.
std::string sentence_without_secrets(std::string_view text);
// printable() of it without secrets: for what a server, a program or another machine chose. Looks at as much of `text`
// as `limit` bytes can come from.
std::string from_outside(std::string_view text, std::size_t limit = 2048);

}  // namespace mcpbox
