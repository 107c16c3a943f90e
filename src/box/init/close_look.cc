#include "box/init/close_look.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "box/init/proc_memory.h"
#include "box/init/sandbox_child.h"

namespace mcpbox::box::init {
namespace {

// "Pss_Anon:     12 kB" and "Pss_Shmem:" of smaps_rollup.
bool read_rollup(int proc, pid_t pid, std::uint64_t& bytes) {
  UniqueFd fd(::openat(proc, (std::to_string(pid) + "/smaps_rollup").c_str(), O_RDONLY | O_CLOEXEC));
  char text[4096];
  const ssize_t got = fd ? ::read(fd.get(), text, sizeof text - 1) : -1;
  if (got <= 0) return false;
  text[got] = '\0';
  for (const char* name : {"\nPss_Anon:", "\nPss_Shmem:"}) {
    const char* found = ::strstr(text, name);
    if (found == nullptr) return false;
    bytes += ::strtoull(found + ::strlen(name), nullptr, 10) * 1024;
  }
  return true;
}

}  // namespace

Op<std::string> look_closely(uid_t uid, const std::vector<pid_t>& pids) {
  std::string step;
  (void)drop_bounding_set(step);
  if (int error = drop_identity(uid, static_cast<gid_t>(uid), step)) return failed(step, error);
  UniqueFd proc(::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc) return failed("open /proc");
  std::uint64_t all = 0;
  for (const pid_t pid : pids) {
    ProcStatus status;
    if (!read_status(proc.get(), pid, status)) continue;
    std::uint64_t bytes = 0;
    ProcPages pages;
    if (!read_rollup(proc.get(), pid, bytes)) {
      if (UniqueFd statm = open_pages(proc.get(), pid); !statm || !read_pages(statm.get(), pages)) continue;
      bytes = pages.resident > pages.shared ? pages.resident - pages.shared : 0;
      bytes += status.shared;
    }
    all += bytes + status.tables + status.swapped;
  }
  return std::to_string(all);
}

}  // namespace mcpbox::box::init
