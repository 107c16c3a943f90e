#include "box/init/close_look.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "base/unique_fd.h"
#include "box/init/hidden_memory.h"
#include "box/init/one_id.h"
#include "box/init/proc_memory.h"
#include "box/init/sandbox_child.h"

namespace mcpbox::box::init {
namespace {

// As servers have it: whoever has many busy processes must not keep the look from ending, nor the look them.
constexpr int kNice = 5;

std::uint64_t kilobytes(const char* text) {
  return ::strtoull(text, nullptr, 10) * 1024;
}

struct Rollup {
  std::uint64_t anonymous = 0, shared = 0;
};

// "Pss_Anon:     12 kB" and "Pss_Shmem:" of smaps_rollup.
bool read_rollup(int proc, pid_t pid, Rollup& rollup) {
  UniqueFd fd(::openat(proc, (std::to_string(pid) + "/smaps_rollup").c_str(), O_RDONLY | O_CLOEXEC));
  char text[4096];
  const ssize_t got = fd ? ::read(fd.get(), text, sizeof text - 1) : -1;
  if (got <= 0) return false;
  text[got] = '\0';
  const char* anonymous = ::strstr(text, "\nPss_Anon:");
  const char* shared = ::strstr(text, "\nPss_Shmem:");
  if (anonymous == nullptr || shared == nullptr) return false;
  rollup.anonymous = kilobytes(anonymous + ::strlen("\nPss_Anon:"));
  rollup.shared = kilobytes(shared + ::strlen("\nPss_Shmem:"));
  return true;
}

std::uint64_t mapped_of(int proc, pid_t pid, const std::vector<dev_t>& devices) {
  UniqueFd fd(::openat(proc, (std::to_string(pid) + "/smaps").c_str(), O_RDONLY | O_CLOEXEC));
  MappedFiles files(devices);
  std::string text;
  char buffer[32 << 10];
  ssize_t got = 0;
  while (fd && (got = ::read(fd.get(), buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<std::size_t>(got));
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
      text[end] = '\0';
      files.line(text.c_str() + begin);
    }
    text.erase(0, begin);
  }
  return files.bytes();
}

// Its effective user and file-system user, by which the kernel says what of /proc may be read, and none of its rights.
// The real and the saved one stay PID 1's, by which it says who may signal or trace us: where servers have no PID
// namespace of their own, they see us. Who sets our priority must have all that we are permitted (cap_safe_nice() of
// security/commoncap.c), which no server has.
int look_as(uid_t uid, gid_t gid, std::string& step) {
  if (one_id()) return drop_identity(uid, gid, step);
  step = "look as uid " + std::to_string(uid);
  if (::setgroups(0, nullptr) != 0 || ::setresgid(-1, gid, -1) != 0 || ::setresuid(-1, uid, -1) != 0) return errno;
  // As in drop_identity().
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return errno;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct kept[2] = {};
  kept[0].permitted = 1u << CAP_SETUID;
  return ::syscall(SYS_capset, &header, kept) == 0 ? 0 : errno;
}

// `shared`: what of it is shared memory and counts.
std::uint64_t bytes_of(int proc, const LookRequest& request, pid_t pid, std::uint64_t& shared) {
  const std::vector<dev_t>& counted = request.counted;
  ProcStatus status;
  if (!read_status(proc, pid, status)) return 0;
  // Its number may be another's by now, of whom everybody may read the rest below.
  if (!one_id() && status.uid != request.uid) return 0;
  const std::uint64_t rest = status.tables + status.swapped;
  Rollup rollup;
  if (read_rollup(proc, pid, rollup)) {
    const std::uint64_t twice =
        counted.empty() || rollup.shared == 0 ? 0 : std::min(rollup.shared, mapped_of(proc, pid, counted));
    shared += rollup.shared - twice;
    return rollup.anonymous + rollup.shared - twice + rest;
  }
  ProcPages pages;
  UniqueFd statm = open_pages(proc, pid);
  if (!statm || !read_pages(statm.get(), pages)) return 0;
  return (pages.resident > pages.shared ? pages.resident - pages.shared : 0) + status.shared + rest;
}

}  // namespace

void MappedFiles::line(const char* text) {
  // "7fde71e5c000-7fde71f5c000 rw-s 00000000 00:1b 407   /dev/shm/x"; names of fields begin with a capital letter.
  if ((*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'f')) {
    unsigned major_number = 0, minor_number = 0;
    const bool read = ::sscanf(text, "%*s %*s %*s %x:%x", &major_number, &minor_number) == 2;
    among_them_ =
        read && std::find(devices_.begin(), devices_.end(), makedev(major_number, minor_number)) != devices_.end();
    return;
  }
  if (!among_them_) return;
  if (::strncmp(text, "Pss:", 4) == 0) bytes_ += part_ = kilobytes(text + 4);
  // Private copies of its pages are its own.
  if (::strncmp(text, "Anonymous:", 10) == 0) bytes_ -= std::min(part_, kilobytes(text + 10));
}

Op<std::string> look_closely(const LookRequest& request) {
  const auto deadline = EventLoop::Clock::now() + request.time;
  std::string step;
  if (!request.hidden) (void)::setpriority(PRIO_PROCESS, 0, kNice);  // else the kernel could be faster
  (void)drop_bounding_set(step);
  if (int error = look_as(request.uid, request.gid, step)) return failed(step, error);
  UniqueFd proc(::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc) return failed("open /proc");
  std::uint64_t all = 0, shared = 0;
  bool cut_off = false;
  HiddenMemory hidden;
  bool looked = false;
  for (const pid_t pid : request.pids) {
    cut_off = looked && EventLoop::Clock::now() >= deadline;
    if (cut_off) break;
    looked = true;
    all += bytes_of(proc.get(), request, pid, shared);
    if (request.hidden) hidden.process(proc.get(), pid);
  }
  if (cut_off) hidden.give_up();
  std::string bytes = std::to_string(all) + (cut_off ? "+" : "");
  if (!request.hidden) return bytes;
  return bytes + " " + std::to_string(hidden.bytes(shared)) + (hidden.known() ? "." : "");
}

std::optional<LookedClosely> parse_look(const Op<std::string>& answer) {
  if (!answer || answer->empty()) return std::nullopt;
  char* end = nullptr;
  LookedClosely found{::strtoull(answer->c_str(), &end, 10), true, std::nullopt, false};
  if (*end == '+') found.all = false, ++end;
  if (*end == ' ') found.hidden = ::strtoull(end, nullptr, 10), found.hidden_all = answer->back() == '.';
  return found;
}

}  // namespace mcpbox::box::init
