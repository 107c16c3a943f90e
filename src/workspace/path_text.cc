#include "workspace/path_text.h"

#include <cctype>
#include <vector>

#include "base/text.h"

namespace mcpbox::workspace {

std::string normalise(std::string_view path) {
  std::vector<std::string_view> kept;
  for (std::string_view part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!kept.empty()) kept.pop_back();
    } else {
      kept.push_back(part);
    }
  }
  std::string result;
  for (std::string_view part : kept) {
    result += '/';
    result += part;
  }
  return result.empty() ? "/" : result;
}

bool is_beneath(std::string_view path, std::string_view root) {
  if (root == "/") return path.starts_with('/');
  return path.starts_with(root) && (path.size() == root.size() || path[root.size()] == '/');
}

std::string relative_to(std::string_view path, std::string_view root) {
  std::size_t skip = root == "/" ? 1 : root.size() + 1;
  return path.size() <= skip ? std::string() : std::string(path.substr(skip));
}

std::string join_path(std::string_view root, std::string_view relative) {
  std::string result(root);
  if (relative.empty()) return result;
  if (!result.ends_with('/')) result += '/';
  result += relative;
  return result;
}

std::string parent_of(std::string_view path) {
  std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos || slash == 0) return "/";
  return std::string(path.substr(0, slash));
}

std::string_view base_name(std::string_view path) {
  std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

bool looks_like_windows(std::string_view text) {
  if (text.starts_with("\\\\")) return true;
  return text.size() >= 3 && std::isalpha(static_cast<unsigned char>(text[0])) != 0 && text[1] == ':' &&
         (text[2] == '\\' || text[2] == '/');
}

std::string quoted_path(std::string_view path) {
  return "'" + printable(path, 512) + "'";
}

}  // namespace mcpbox::workspace
