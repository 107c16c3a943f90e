#include "base/redact.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/base64.h"
#include "base/url.h"

namespace mcpbox {
namespace {

constexpr std::size_t kShortest = 6;  // shorter values occur in ordinary text and would hide it

// Only whole groups: the last characters depend on what follows the secret in the encoded text.
std::string base64(std::string_view data) {
  return base64_encode(data.substr(0, data.size() - data.size() % 3));
}

std::string json_escaped(std::string_view data) {
  std::string out;
  for (const char c : data) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

void Redactor::add(const Secret& secret) {
  const std::string_view value = secret.reveal();
  if (value.size() < kShortest) return;
  for (std::string spelling : {std::string(value), base64(value), percent_encode(value), json_escaped(value)}) {
    if (spelling.size() < kShortest) continue;
    const bool known = std::any_of(needles_.begin(), needles_.end(),
                                   [&](const Secret& needle) { return needle.reveal() == spelling; });
    if (known) continue;
    longest_ = std::max(longest_, spelling.size());
    needles_.emplace_back(std::move(spelling));
  }
  // The longest first, so that a secret which contains another one goes as a whole.
  std::sort(needles_.begin(), needles_.end(),
            [](const Secret& a, const Secret& b) { return a.reveal().size() > b.reveal().size(); });
}

std::string Redactor::operator()(std::string_view text) const {
  std::string out(text);
  for (const Secret& needle : needles_) {
    const std::string_view value = needle.reveal();
    for (std::size_t at = out.find(value); at != std::string::npos; at = out.find(value, at + 3)) {
      out.replace(at, value.size(), "***");
    }
  }
  return out;
}

}  // namespace mcpbox
