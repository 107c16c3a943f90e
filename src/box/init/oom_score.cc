#include "box/init/oom_score.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "base/unique_fd.h"
#include "box/init/sandbox_child.h"

namespace mcpbox::box::init {

void set_oom_scores(uid_t uid, gid_t gid, const std::vector<pid_t>& pids, int score) {
  const std::string text = std::to_string(score);
  std::vector<pid_t> rest;
  const auto write = [&](pid_t pid) {
    UniqueFd fd(::open(("/proc/" + std::to_string(pid) + "/oom_score_adj").c_str(), O_WRONLY | O_CLOEXEC));
    return fd && ::write(fd.get(), text.data(), text.size()) > 0;
  };
  for (const pid_t pid : pids) {
    if (!write(pid)) rest.push_back(pid);
  }
  std::string step;
  if (rest.empty() || drop_identity(uid, gid, step) != 0) return;
  for (const pid_t pid : rest) (void)write(pid);
}

}  // namespace mcpbox::box::init
