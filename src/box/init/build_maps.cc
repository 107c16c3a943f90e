#include "box/init/build_maps.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace mcpbox::box::init {
namespace {

using Ranges = std::vector<wire::IdRange>;

// One write(2), as user_namespaces(7) demands.
Op<void> write_map(pid_t pid, const char* name, const Ranges& ranges) {
  std::string text;
  for (const wire::IdRange& range : ranges) {
    text +=
        std::to_string(range.inside) + " " + std::to_string(range.outside) + " " + std::to_string(range.count) + "\n";
  }
  UniqueFd file(::open(("/proc/" + std::to_string(pid) + "/" + name).c_str(), O_WRONLY | O_CLOEXEC));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return failed(std::string("write ") + name);
  return {};
}

Op<void> call_helper(const std::string& program, pid_t pid, const Ranges& ranges) {
  std::vector<std::string> words{program, std::to_string(pid)};
  for (const wire::IdRange& range : ranges) {
    for (const std::uint32_t each : {range.inside, range.outside, range.count}) words.push_back(std::to_string(each));
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  char* const environment[] = {nullptr};
  const pid_t child = ::fork();
  if (child == 0) {
    ::execve(program.c_str(), argv.data(), environment);
    ::_exit(127);
  }
  if (child < 0) return failed("start " + program);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return refuse(
      Code::kPermissionDenied, "map ids",
      program + " refused; compare /etc/subuid and /etc/subgid with what `id` says, and is the program setuid root?");
}

}  // namespace

Op<void> write_maps(const wire::BuildSpec& spec, pid_t pid) {
  if (spec.newuidmap.empty()) {
    if (spec.one_id) {
      UniqueFd file(::open(("/proc/" + std::to_string(pid) + "/setgroups").c_str(), O_WRONLY | O_CLOEXEC));
      if (!file || ::write(file.get(), "deny", 4) != 4) return failed("write setgroups");
    }
    if (auto done = write_map(pid, "uid_map", spec.uids); !done) return done;
    return write_map(pid, "gid_map", spec.gids);
  }
  if (auto done = call_helper(spec.newuidmap, pid, spec.uids); !done) return done;
  return call_helper(spec.newgidmap, pid, spec.gids);
}

}  // namespace mcpbox::box::init
