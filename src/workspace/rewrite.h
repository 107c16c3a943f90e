// Turns host paths in arguments and values into sandbox paths, and nothing else.
//
// Relative text, flags, URLs and Windows paths stay as they are: a path is only what begins with "/" at a place where a
// path can stand.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mcpbox::workspace {

// The absolute paths in an argument: the whole of it, after "--opt=" or "NAME=", after "-I" or "@", in file:// and in
// lists separated by ":" or ",". `replace` is called for each with the path as written (percent-decoded for file://)
// and says what stands there instead; nullopt keeps it. Offered longest first: a list is taken apart only when the
// whole is not replaced.
std::string replace_paths(std::string_view text,
                          const std::function<std::optional<std::string>(const std::string& path)>& replace);

// All paths that replace_paths would offer; `whole` tells whether the argument is nothing but that path.
struct FoundPath {
  std::string path;
  bool whole;
};
std::vector<FoundPath> find_paths(std::string_view text);

// Which host folder is where.
class PathMap {
 public:
  // `host` canonical; `spelled` how else the operator writes it (may be empty).
  void add(const std::string& host, const std::string& spelled, const std::string& mount);
  // The sandbox path of an absolute host path; nullopt when no root covers it. The written path counts first, where it
  // really lies second (a link beside the project that leads into it); the innermost root wins.
  std::optional<std::string> map(const std::string& path) const;
  std::string rewrite(std::string_view text) const;

 private:
  struct Entry {
    std::string host;
    std::string mount;
  };
  const Entry* covering(const std::string& clean) const;
  std::vector<Entry> entries_;
};

}  // namespace mcpbox::workspace
