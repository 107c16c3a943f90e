#include "box/init/proc_masks.h"

#include <errno.h>

#include <utility>

#include "box/init/build_mount.h"

namespace mcpbox::box::init {
namespace {

constexpr const char* kReadOnlyProc[] = {"sys", "sysrq-trigger", "irq", "bus", "fs"};
struct Covered {
  const char* name;
  bool folder = false;  // on the kernels that we know
};
constexpr Covered kCoveredProc[] = {{"kcore"},        {"keys"},          {"key-users"},      {"timer_list"},
                                    {"sched_debug"},  {"latency_stats"}, {"interrupts"},     {"acpi", true},
                                    {"scsi", true},   {"asound", true},  {"kmsg"},           {"config.gz"},
                                    {"iomem"},        {"ioports"},       {"pressure", true}, {"mtrr"},
                                    {"driver", true}, {"tty", true},     {"kallsyms"},       {"modules"}};

// What lies over the others. One empty folder covers all of them: a file system of its own for each would be most of
// what this costs.
class Covers {
 public:
  explicit Covers(int root) : root_(root) {}

  // 0, or errno; ENOENT means that there is nothing to cover.
  int cover(int proc, const char* name, bool folder) {
    UniqueFd& next = folder ? folder_ : file_;
    if (!next) next = folder ? another_folder() : copy_tree(root_, "dev/null");
    if (!next) return errno == ENOENT ? ENXIO : errno;
    if (!attach_at(next.get(), proc, name)) return errno;
    UniqueFd used = std::move(next);
    if (folder && !first_) first_ = std::move(used);
    return 0;
  }

 private:
  UniqueFd another_folder() const {
    if (first_) return copy_tree(first_.get(), "");
    return new_mount("tmpfs", {{"size", "4096"}, {"nr_inodes", "2"}, {"mode", "555"}}, kReadOnly | kNoExec);
  }

  int root_;
  UniqueFd file_, folder_, first_;
};

}  // namespace

// Names of a proc that was just made are the kernel's, so they are not looked at before.
Op<void> mask_proc(int proc, int root) {
  for (const char* name : kReadOnlyProc) {
    UniqueFd tree = copy_tree(proc, name);
    if (!tree && errno == ENOENT) continue;
    if (!tree || !restrict_tree(tree.get(), true, true, true, true) || !attach_at(tree.get(), proc, name))
      return failed("protect /proc/" + std::string(name));
  }
  Covers covers(root);
  for (const Covered& each : kCoveredProc) {
    int error = covers.cover(proc, each.name, each.folder);
    // move_mount(2) of a folder onto a file, or the other way round.
    if (error == EINVAL || error == ENOTDIR) error = covers.cover(proc, each.name, !each.folder);
    if (error != 0 && error != ENOENT) return failed("cover /proc/" + std::string(each.name), error);
  }
  return {};
}

}  // namespace mcpbox::box::init
