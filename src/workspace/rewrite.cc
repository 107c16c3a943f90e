#include "workspace/rewrite.h"

#include <algorithm>
#include <cctype>

#include "base/url.h"
#include "workspace/host_view.h"
#include "workspace/path_text.h"

namespace mcpbox::workspace {
namespace {

using Replace = std::function<std::optional<std::string>(const std::string&)>;

// Letters, digits, "-", "_", ".": what can stand before "=" in an option or a variable.
bool is_key(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  });
}

std::optional<std::string> replace_file_url(std::string_view text, const Replace& replace) {
  std::string_view rest = text.substr(7);
  if (rest.starts_with("localhost/")) rest.remove_prefix(9);
  if (!rest.starts_with('/') || (rest.size() > 3 && looks_like_windows(rest.substr(1)))) return std::nullopt;
  std::size_t end = rest.find_first_of("?#");
  // A path with a "%" that nobody escaped is meant as it is written.
  const std::string_view path = rest.substr(0, end);
  auto replaced = replace(percent_decode(path).value_or(std::string(path)));
  if (!replaced) return std::nullopt;
  return "file://" + percent_encode(*replaced, Plain::kPath) +
         std::string(end == std::string_view::npos ? std::string_view() : rest.substr(end));
}

// The value of an option or the whole argument; nullopt when nothing was replaced.
std::optional<std::string> replace_value(std::string_view text, const Replace& replace) {
  if (text.starts_with("file://")) return replace_file_url(text, replace);
  if (looks_like_windows(text)) return std::nullopt;
  // "/a:/b" is a list unless there is such a file; "/a:ro" is a path with something behind it.
  bool list = text.find(":/") != std::string_view::npos || text.find(",/") != std::string_view::npos;
  if (text.starts_with('/') && (!list || host_kind(std::string(text)) != HostKind::kNothing)) {
    if (auto whole = replace(std::string(text))) return whole;
  }
  if (text.find("://") != std::string_view::npos && text.find("file://") == std::string_view::npos) return std::nullopt;
  std::size_t separator = text.find_first_of(":,");
  if (separator == std::string_view::npos || text.find("file://") != std::string_view::npos) return std::nullopt;
  bool changed = false;
  std::string result;
  for (std::size_t begin = 0; begin <= text.size();) {
    std::size_t end = std::min(text.find_first_of(":,", begin), text.size());
    std::string_view part = text.substr(begin, end - begin);
    std::optional<std::string> replaced;
    if (part.starts_with('/')) replaced = replace(std::string(part));
    changed |= replaced.has_value();
    result += replaced ? *replaced : std::string(part);
    if (end < text.size()) result += text[end];
    begin = end + 1;
  }
  return changed ? std::optional(result) : std::nullopt;
}

}  // namespace

std::string replace_paths(std::string_view text, const Replace& replace) {
  if (text.empty() || text.find('\0') != std::string_view::npos) return std::string(text);
  std::size_t prefix = 0;
  if (std::size_t equals = text.find('='); equals != std::string_view::npos && is_key(text.substr(0, equals))) {
    prefix = equals + 1;
  } else if (text.size() > 3 && text[0] == '-' && std::isalpha(static_cast<unsigned char>(text[1])) != 0 &&
             text[2] == '/') {
    prefix = 2;  // -I/usr/include
  } else if (text.starts_with("@/")) {
    prefix = 1;
  }
  // "--define=NAME=/path" has a second name.
  std::string_view value = text.substr(prefix);
  if (std::size_t equals = value.find('=');
      prefix > 0 && equals != std::string_view::npos && is_key(value.substr(0, equals)))
    prefix += equals + 1;
  auto replaced = replace_value(text.substr(prefix), replace);
  return replaced ? std::string(text.substr(0, prefix)) + *replaced : std::string(text);
}

std::vector<FoundPath> find_paths(std::string_view text) {
  std::vector<FoundPath> found;
  replace_paths(text, [&](const std::string& path) -> std::optional<std::string> {
    found.push_back({path, path == text});
    return std::nullopt;
  });
  return found;
}

void PathMap::add(const std::string& host, const std::string& spelled, const std::string& mount) {
  entries_.push_back({host, mount});
  if (!spelled.empty() && normalise(spelled) != host) entries_.push_back({normalise(spelled), mount});
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return a.host.size() > b.host.size(); });
}

const PathMap::Entry* PathMap::covering(const std::string& clean) const {
  auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return is_beneath(clean, entry.host); });
  return found == entries_.end() ? nullptr : &*found;
}

std::optional<std::string> PathMap::map(const std::string& path) const {
  if (!path.starts_with('/')) return std::nullopt;
  std::string clean = normalise(path);
  std::string real = canonical_prefix(clean);
  const Entry* written = covering(clean);
  const Entry* actual = covering(real);
  if (written == nullptr && actual == nullptr) return std::nullopt;
  // A link in one root that leads into another does not go along, so then only where it leads counts.
  bool by_name = written != nullptr && (actual == nullptr || actual->mount == written->mount);
  const Entry& entry = by_name ? *written : *actual;
  std::string mapped = join_path(entry.mount, relative_to(by_name ? clean : real, entry.host));
  if (path.size() > 1 && path.ends_with('/')) mapped += '/';
  return mapped;
}

std::string PathMap::rewrite(std::string_view text) const {
  return replace_paths(text, [this](const std::string& path) { return map(path); });
}

}  // namespace mcpbox::workspace
