#include "workspace/pinned.h"

#include <algorithm>

#include "base/text.h"
#include "base/url.h"

namespace mcpbox::workspace {
namespace {

bool digit(char c) {
  return c >= '0' && c <= '9';
}
bool letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool hexadecimal(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return digit(c) || (c >= 'a' && c <= 'f'); });
}

// With a hash in its fragment, or git+https://host/repository@<commit>.
bool is_exact_url(std::string_view text) {
  const auto url = parse_url(text);
  if (!url) return false;
  const std::string_view target = url->target;
  const std::size_t hash = target.find('#');
  const std::string_view fragment = hash == std::string_view::npos ? std::string_view() : target.substr(hash + 1);
  for (const std::string_view part : split(fragment, '&')) {
    if (part.starts_with("sha256=") && part.size() > 7) return true;
  }
  const std::string_view path = target.substr(0, target.find_first_of("?#"));
  const std::size_t at = path.rfind('@');
  return url->scheme.starts_with("git+") && at != std::string_view::npos && path.size() - at == 41 &&
         hexadecimal(path.substr(at + 1));
}

}  // namespace

bool is_exact_requirement(std::string_view requirement) {
  std::string_view text = requirement.substr(0, requirement.find(';'));
  if (const std::size_t separator = text.find("://"); separator != std::string_view::npos) {
    const std::size_t before = text.find_last_of(" @", separator);  // "name @ URL", "name@URL", or the URL alone
    return is_exact_url(trim(text.substr(before == std::string_view::npos ? 0 : before + 1)));
  }
  text = text.substr(0, text.find(" --"));
  const std::size_t equals = text.find("==");
  if (equals == std::string_view::npos || equals == 0) return false;
  std::string_view version = text.substr(equals + 2);
  if (version.starts_with('=')) version.remove_prefix(1);
  version = trim(version);
  if (!version.empty() && version.ends_with(')')) version = trim(version.substr(0, version.size() - 1));
  const std::string_view name = text.substr(0, equals);
  return !version.empty() && version.find_first_of("*,<>=~ ") == std::string_view::npos &&
         name.find_first_of(",<>=!~") == std::string_view::npos;
}

bool is_exact_npm_spec(std::string_view spec) {
  if (const std::size_t alias = spec.find("@npm:"); alias != std::string_view::npos) spec = spec.substr(alias + 5);
  const std::size_t at = spec.find('@', 1);
  if (at == std::string_view::npos || spec.find("://") != std::string_view::npos) return false;
  const std::string_view version = spec.substr(at + 1);
  int dots = 0;
  bool in_core = true;
  for (std::size_t i = 0; i < version.size(); ++i) {
    const char c = version[i];
    if (in_core && (c == '-' || c == '+')) in_core = false;
    if (in_core && c == '.') {
      ++dots;
      if (i == 0 || !digit(version[i - 1])) return false;
    } else if (!(digit(c) || (!in_core && (letter(c) || c == '.' || c == '-' || c == '+')))) {
      return false;
    }
  }
  return dots == 2 && !version.ends_with('.');
}

std::vector<std::string> inexact_requirements(const std::vector<std::string>& requirements) {
  std::vector<std::string> out;
  std::copy_if(requirements.begin(), requirements.end(), std::back_inserter(out),
               [](const std::string& requirement) { return !is_exact_requirement(requirement); });
  return out;
}

}  // namespace mcpbox::workspace
