#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "box/probe/probe.h"

namespace mcpbox::box::probe {

Outcome hit(std::string detail) {
  return {Outcome::Verdict::kHit, std::move(detail)};
}
Outcome blocked(std::string detail) {
  return {Outcome::Verdict::kBlocked, std::move(detail)};
}
Outcome blocked_by(int error) {
  return blocked(::strerror(error));
}
Outcome none(std::string detail) {
  return {Outcome::Verdict::kNone, std::move(detail)};
}

std::string canary(const Target& target, std::string_view what) {
  return target.token + "-canary-" + std::string(what);
}

std::string abstract_name(const Target& target) {
  return "mcpbox-probe-" + target.token;
}

key_t shared_memory_key(const Target& target) {
  key_t key = 0x6d637000;
  for (const char c : target.token) key = key * 31 + c;
  return key | 1;
}

std::string read_all(const std::string& path, std::size_t limit) {
  std::string out;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return out;
  char piece[4096];
  ssize_t got = 0;
  while (out.size() < limit && (got = ::read(fd, piece, sizeof piece)) > 0) out.append(piece, static_cast<size_t>(got));
  const int error = errno;
  ::close(fd);
  errno = error;
  return out;
}

bool can_make(const std::string& path, int& error) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  error = fd < 0 ? errno : 0;
  if (fd < 0) return false;
  ::close(fd);
  ::unlink(path.c_str());
  return true;
}

std::vector<pid_t> candidates(const Target& target) {
  std::vector<pid_t> out;
  DIR* const proc = ::opendir("/proc");
  while (proc != nullptr) {
    const dirent* entry = ::readdir(proc);
    if (entry == nullptr) break;
    const pid_t pid = static_cast<pid_t>(::strtol(entry->d_name, nullptr, 10));
    if (pid <= 0 || pid == ::getpid() || pid == ::getppid()) continue;
    const std::string arguments = read_all("/proc/" + std::to_string(pid) + "/cmdline", 4096);
    if (arguments.find(std::string("victim\0", 7) + target.token) != std::string::npos) out.push_back(pid);
  }
  if (proc != nullptr) ::closedir(proc);
  // Where /proc hides it, its number can still be guessed.
  if (out.empty() && target.pid > 0 && !target.apart) out.push_back(target.pid);
  return out;
}

namespace {

int attack(const Target& target) {
  std::vector<Attack> attacks;
  add_process_attacks(attacks);
  add_file_attacks(attacks);
  add_socket_attacks(attacks);
  add_kernel_attacks(attacks);
  add_identity_attacks(attacks);
  add_works(attacks);
  add_signals(attacks);
  for (const Attack& each : attacks) {
    ::fflush(stdout);
    // Each in a process of its own: a system call filter may kill for it, and what it leaves open goes with it.
    const pid_t child = ::fork();
    if (child < 0) {
      ::printf("%s blocked fork: %s\n", each.id, ::strerror(errno));
      continue;
    }
    if (child == 0) {
      ::alarm(5);
      const Outcome outcome = each.run(target);
      const char* const verdict = outcome.verdict == Outcome::Verdict::kHit    ? "hit"
                                  : outcome.verdict == Outcome::Verdict::kNone ? "none"
                                                                               : "blocked";
      ::printf("%s %s %s\n", each.id, verdict, outcome.detail.c_str());
      ::fflush(stdout);
      ::_exit(0);
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    if (WIFSIGNALED(status)) ::printf("%s blocked killed by signal %d\n", each.id, WTERMSIG(status));
  }
  ::printf("end\n");
  ::fflush(stdout);
  return 0;
}

int usage() {
  ::fprintf(stderr, "mcpbox-probe belongs to `mcpbox doctor --attack`\n");
  return 2;
}

}  // namespace
}  // namespace mcpbox::box::probe

int main(int argc, char** argv) {
  using namespace mcpbox::box::probe;
  if (argc < 2) return usage();
  const std::string_view verb = argv[1];
  if (verb == "whoami") {
    ::printf("%u %u\n", ::getuid(), ::geteuid());
    return 0;
  }
  // The copy with the setuid bit does nothing but the above.
  if (::getuid() != ::geteuid() || ::getgid() != ::getegid()) return usage();
  if (verb == "victim" && argc == 3) return be_victim(argv[2]);
  if (verb != "attack" || argc < 3) return usage();
  Target target;
  target.token = argv[2];
  target.apart = ::getppid() == 0;
  for (int i = 3; i < argc; ++i) {
    const std::string_view word = argv[i];
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) return usage();
    const std::string_view name = word.substr(0, equals);
    const std::string value(word.substr(equals + 1));
    if (name == "pid") target.pid = static_cast<pid_t>(::atoi(value.c_str()));
    if (name == "port") target.port = ::atoi(value.c_str());
    if (name == "host_port") target.host_port = ::atoi(value.c_str());
    if (name == "host") target.host_addresses.push_back(value);
    if (name == "files") target.files = value;
    if (name == "setuid") target.setuid = value;
  }
  return attack(target);
}
