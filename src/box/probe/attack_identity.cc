// Part of probe.h: becoming somebody else, and what a server is not meant to be at all.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "box/probe/probe.h"

namespace mcpbox::box::probe {
namespace {

// What a program says on stdout within the time of an attack; nothing on its stdin.
std::string output_of(const std::vector<const char*>& argv, int& error) {
  int ends[2];
  error = 0;
  if (::pipe2(ends, O_CLOEXEC) != 0) return {};
  const pid_t child = ::fork();
  if (child == 0) {
    std::vector<char*> words;
    for (const char* word : argv) words.push_back(const_cast<char*>(word));
    words.push_back(nullptr);
    const int null = ::open("/dev/null", O_RDWR);
    if (null >= 0) ::dup2(null, 0), ::dup2(null, 2);
    ::dup2(ends[1], 1);
    ::alarm(3);
    ::execv(words[0], words.data());
    ::_exit(100 + (errno & 31));
  }
  ::close(ends[1]);
  std::string out;
  char piece[256];
  ssize_t got = 0;
  while ((got = ::read(ends[0], piece, sizeof piece)) > 0) out.append(piece, static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) >= 100) error = WEXITSTATUS(status) - 100;
  return out;
}

Outcome run_setuid(const Target& target) {
  if (target.setuid.empty()) return none("no such program was given to the sandbox");
  int error = 0;
  const std::string said = output_of({target.setuid.c_str(), "whoami"}, error);
  unsigned real = 0, effective = 0;
  if (::sscanf(said.c_str(), "%u %u", &real, &effective) != 2) return blocked_by(error != 0 ? error : EIO);
  return real != effective ? hit("became uid " + std::to_string(effective)) : blocked("it gives its own uid only");
}

Outcome become_root(const Target&) {
  if (::access("/bin/su", X_OK) != 0) return none("there is no su here");
  int error = 0;
  const std::string said = output_of({"/bin/su", "root", "-s", "/bin/sh", "-c", "id -u"}, error);
  return said == "0\n" ? hit("became root") : blocked("it refuses");
}

std::string line_of(const std::string& status, const char* name) {
  const std::size_t at = status.find(std::string("\n") + name + ":\t");
  if (at == std::string::npos) return {};
  const std::size_t begin = at + ::strlen(name) + 3;
  return status.substr(begin, status.find('\n', begin) - begin);
}

// A hit is a server that is more than one ordinary user.
Outcome be_somebody(const Target&) {
  if (::getuid() == 0 || ::getgid() == 0) return hit("is root");
  if (::getuid() != ::geteuid() || ::getgid() != ::getegid()) return hit("is two users");
  gid_t groups[64];
  const int count = ::getgroups(64, groups);
  for (int i = 0; i < count; ++i) {
    if (groups[i] != ::getgid()) return hit("has a group more");
  }
  return blocked("uid " + std::to_string(::getuid()) + " and no other group");
}

Outcome be_able(const Target&) {
  const std::string status = read_all("/proc/self/status", 8192);
  if (status.empty()) return blocked("its /proc cannot be read");
  for (const char* const set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
    if (line_of(status, set) != "0000000000000000") return hit(std::string(set) + " is " + line_of(status, set));
  }
  if (line_of(status, "NoNewPrivs") != "1") return hit("it may gain privileges by exec");
  if (line_of(status, "Seccomp") != "2") return hit("there is no system call filter");
  return blocked("no capabilities, no_new_privs, a system call filter");
}

}  // namespace

void add_identity_attacks(std::vector<Attack>& attacks) {
  attacks.push_back({"A18", run_setuid});
  attacks.push_back({"A19", become_root});
  attacks.push_back({"B07", be_somebody});
  attacks.push_back({"B08", be_able});
}

}  // namespace mcpbox::box::probe
