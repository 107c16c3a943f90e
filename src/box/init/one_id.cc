#include "box/init/one_id.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace mcpbox::box::init {
namespace {

bool g_one_id = false;

int write_file(const char* path, const std::string& text) {
  UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : errno;
}

}  // namespace

void set_one_id() {
  g_one_id = true;
}
bool one_id() {
  return g_one_id;
}

int enter_own_namespace(uid_t uid, gid_t gid, std::string& step) {
  step = "make the server's user namespace";
  if (::unshare(CLONE_NEWUSER) != 0) return errno;
  // The files below belong to whoever may read our memory. No server may, whatever this says: it has no capability in
  // our namespace.
  if (::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) return errno;
  step = "map the server's ids";
  if (int error = write_file("/proc/self/setgroups", "deny")) return error;
  if (int error = write_file("/proc/self/uid_map", std::to_string(uid) + " 0 1")) return error;
  if (int error = write_file("/proc/self/gid_map", std::to_string(gid) + " 0 1")) return error;
  return ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : errno;
}

uid_t user_there(pid_t pid) {
  UniqueFd file(::open(("/proc/" + std::to_string(pid) + "/uid_map").c_str(), O_RDONLY | O_CLOEXEC));
  char text[256];
  const ssize_t got = file ? ::read(file.get(), text, sizeof text - 1) : -1;
  if (got <= 0) return 0;
  text[got] = '\0';
  return static_cast<uid_t>(::strtoul(text, nullptr, 10));
}

bool is_user_there(pid_t pid, uid_t uid) {
  return user_there(pid) == uid;
}

}  // namespace mcpbox::box::init
