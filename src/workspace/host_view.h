// Reading the host for decisions: what a path is, where it really lies, what a manifest says. Never for content that is
// staged.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

namespace mcpbox::workspace {

enum class HostKind { kNothing, kFile, kDirectory, kOther };

HostKind host_kind(const std::string& path);                    // follows links
std::optional<std::string> canonical(const std::string& path);  // realpath(3); nullopt when it does not exist
// The real place of `path` even when its last components do not exist yet: the existing part resolved, the rest
// appended.
std::string canonical_prefix(const std::string& path);
// N of 3.N for the /usr/bin/python3 of a sandbox, from the name that it links to. `image_id`: base/root_fs.h; every
// image is taken for the runner image, which has 3.11. nullopt where the link does not say.
std::optional<unsigned> python_minor_of(const std::string& image_id);
// What an environment is made for, besides the image's id: the processor, and where that id is a folder's name, which
// says nothing of what is in it, the interpreters there as ids of files tell them (size and time of change).
std::string platform_of(const std::string& image_id);

}  // namespace mcpbox::workspace
