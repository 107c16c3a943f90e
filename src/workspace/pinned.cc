#include "workspace/pinned.h"

#include <algorithm>

#include "base/text.h"

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

}  // namespace

bool is_exact_requirement(std::string_view requirement) {
  std::string_view text = requirement.substr(0, requirement.find(';'));
  if (const std::size_t at = text.find('@');
      at != std::string_view::npos && text.find("://") != std::string_view::npos) {
    if (text.find("#sha256=") != std::string_view::npos || text.find("&sha256=") != std::string_view::npos) return true;
    // git+https://host/repository@<commit>
    const std::size_t commit = text.rfind('@');
    const std::string_view tail = trim(text.substr(commit + 1, text.find('#', commit) - commit - 1));
    return text.find("git+") != std::string_view::npos && tail.size() == 40 && hexadecimal(tail);
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
