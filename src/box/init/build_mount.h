// The mount calls that building a sandbox needs (open_tree(2), mount_setattr(2), fsopen(2), move_mount(2)): on
// descriptors, so that no path is looked up twice. Needs Linux 5.12.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"

namespace mcpbox::box::init {

// All give an invalid descriptor, or false, with errno set.

// A detached copy of what is at `path` (beneath `directory`), with everything mounted below it.
UniqueFd copy_tree(int directory, const char* path);
// Restricts a detached or attached tree, all of it or its top alone. The flags that it has stay.
bool restrict_tree(int tree, bool read_only, bool no_devices, bool no_exec, bool recursive);
// A new file system instance, nosuid, and nodev unless it is of terminals; `options` are its own ("size", "16m").
UniqueFd new_mount(const char* type, const std::vector<std::pair<std::string, std::string>>& options,
                   std::uint64_t flags);
// Nothing that is mounted in this mount namespace from now on is seen in others, nor the other way round.
bool make_private();
// Puts a detached tree onto the file or directory behind `place`.
bool attach(int tree, int place);
// The same of what is called `name` in `directory`, a link itself and not what it leads to.
bool attach_at(int tree, int directory, const char* name);

inline constexpr std::uint64_t kReadOnly = 1, kNoSuid = 2, kNoDevices = 4,
                               kNoExec = 8;  // MOUNT_ATTR_* of linux/mount.h

}  // namespace mcpbox::box::init
