#include "box/init/proc_masks.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "box/init/build_mount.h"

namespace mcpbox::box::init {
namespace {

constexpr const char* kReadOnlyProc[] = {"sys", "sysrq-trigger", "irq", "bus", "fs"};
constexpr const char* kCoveredProc[] = {"kcore",         "keys",       "key-users", "timer_list", "sched_debug",
                                        "latency_stats", "interrupts", "acpi",      "scsi",       "asound",
                                        "kmsg",          "config.gz",  "iomem",     "ioports",    "pressure",
                                        "mtrr",          "driver",     "tty",       "kallsyms",   "modules"};

bool is_folder(int fd) {
  struct stat info{};
  return ::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
}

}  // namespace

Op<void> mask_proc(int proc, int root) {
  for (const char* name : kReadOnlyProc) {
    UniqueFd spot(::openat(proc, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!spot) continue;
    UniqueFd tree = copy_tree(proc, name);
    if (!tree || !restrict_tree(tree.get(), true, true, true, true) || !attach(tree.get(), spot.get()))
      return failed("protect /proc/" + std::string(name));
  }
  // One empty folder covers all of them: a file system of its own for each would be most of what this costs.
  UniqueFd first;
  for (const char* name : kCoveredProc) {
    UniqueFd spot(::openat(proc, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!spot) continue;
    UniqueFd cover;
    if (!is_folder(spot.get())) {
      cover = copy_tree(root, "dev/null");
    } else if (first) {
      cover = copy_tree(first.get(), "");
    } else {
      cover = new_mount("tmpfs", {{"size", "4096"}, {"nr_inodes", "2"}, {"mode", "555"}}, kReadOnly | kNoExec);
    }
    if (!cover || !attach(cover.get(), spot.get())) return failed("cover /proc/" + std::string(name));
    if (!first && is_folder(spot.get())) first = std::move(cover);
  }
  return {};
}

}  // namespace mcpbox::box::init
