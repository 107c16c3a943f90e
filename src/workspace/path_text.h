// Paths as text: normalising, comparing by components, joining. Nothing here looks at a file system.
#pragma once

#include <string>
#include <string_view>

namespace mcpbox::workspace {

// Absolute `path` without ".", "..", double and trailing slashes: "/a/./b//../c/" → "/a/c". ".." above "/" stays at
// "/".
std::string normalise(std::string_view path);
// True when `path` is `root` or beneath it, by whole components: "/a/bc" is not beneath "/a/b". Both absolute and
// normalised.
bool is_beneath(std::string_view path, std::string_view root);
// What follows `root` in `path`, which is beneath it: "" or "b/c".
std::string relative_to(std::string_view path, std::string_view root);
std::string join_path(std::string_view root, std::string_view relative);
std::string parent_of(std::string_view path);  // of "/" it is "/"
std::string_view base_name(std::string_view path);
std::string quoted_path(std::string_view path);  // for messages: in single quotes, printable, cut at 512 bytes
// "C:\…", "C:/…", "\\server\share": a path of another system, never ours to judge.
bool looks_like_windows(std::string_view text);

}  // namespace mcpbox::workspace
