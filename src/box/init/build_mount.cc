#include "box/init/build_mount.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string_view>

namespace mcpbox::box::init {

static_assert(kReadOnly == MOUNT_ATTR_RDONLY && kNoSuid == MOUNT_ATTR_NOSUID && kNoDevices == MOUNT_ATTR_NODEV &&
              kNoExec == MOUNT_ATTR_NOEXEC);

namespace {
constexpr unsigned kRecursive = 0x8000;  // AT_RECURSIVE, which fcntl.h shows to GNU programs of newer libraries only
}

UniqueFd copy_tree(int directory, const char* path) {
  const unsigned flags =
      OPEN_TREE_CLONE | O_CLOEXEC | kRecursive | AT_SYMLINK_NOFOLLOW | (*path == '\0' ? AT_EMPTY_PATH : 0u);
  return UniqueFd(static_cast<int>(::syscall(SYS_open_tree, directory, path, flags)));
}

bool restrict_tree(int tree, bool read_only, bool no_devices, bool no_exec, bool recursive) {
  struct mount_attr attributes{};
  attributes.attr_set = kNoSuid | (read_only ? kReadOnly : 0) | (no_devices ? kNoDevices : 0) | (no_exec ? kNoExec : 0);
  return ::syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | (recursive ? kRecursive : 0u), &attributes,
                   sizeof attributes) == 0;
}

UniqueFd new_mount(const char* type, const std::vector<std::pair<std::string, std::string>>& options,
                   std::uint64_t flags) {
  UniqueFd context(static_cast<int>(::syscall(SYS_fsopen, type, FSOPEN_CLOEXEC)));
  if (!context) return UniqueFd();
  for (const auto& [name, value] : options) {
    if (::syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, name.c_str(), value.c_str(), 0) != 0)
      return UniqueFd();
  }
  if (::syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return UniqueFd();
  const std::uint64_t devices = std::string_view(type) == "devpts" ? 0 : kNoDevices;
  return UniqueFd(static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, flags | kNoSuid | devices)));
}

bool make_private() {
  struct mount_attr attributes{};
  attributes.propagation = MS_PRIVATE;
  return ::syscall(SYS_mount_setattr, AT_FDCWD, "/", kRecursive, &attributes, sizeof attributes) == 0;
}

bool attach(int tree, int place) {
  return ::syscall(SYS_move_mount, tree, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0;
}

bool attach_at(int tree, int directory, const char* name) {
  return ::syscall(SYS_move_mount, tree, "", directory, name, MOVE_MOUNT_F_EMPTY_PATH) == 0;
}

}  // namespace mcpbox::box::init
