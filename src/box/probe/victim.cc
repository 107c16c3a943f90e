// Part of probe.h: the victim.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>

#include "box/probe/probe.h"

namespace mcpbox::box::probe {
namespace {

volatile sig_atomic_t signalled = 0;

int listen_on(const sockaddr* address, socklen_t size) {
  const int fd = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (::bind(fd, address, size) == 0 && ::listen(fd, 8) == 0) return fd;
  ::close(fd);
  return -1;
}

void write_file(const std::string& path, const std::string& text, mode_t mode) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) return;
  if (::write(fd, text.data(), text.size()) < 0) ::unlink(path.c_str());
  ::fchmod(fd, mode);
  ::close(fd);
}

// Whoever connects is told the canary.
void answer(int listening, const std::string& text) {
  const int client = ::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  (void)::send(client, text.data(), text.size(), MSG_NOSIGNAL);
  ::close(client);
}

struct Kept {
  std::string folder, file, file_text, name_in_tmp;
  rlimit descriptors{};
  std::string oom_score;
};

// What was done to it, so far.
void tell(const Kept& kept) {
  std::string out = "state";
  rlimit now{};
  ::getrlimit(RLIMIT_NOFILE, &now);
  if (now.rlim_cur != kept.descriptors.rlim_cur) out += " limits";
  if (read_all("/proc/self/oom_score_adj", 64) != kept.oom_score) out += " oom_score";
  if (read_all(kept.file) != kept.file_text) out += " file";
  if (signalled != 0) out += " signal";
  for (const char* place : {"/tmp/", "/dev/shm/", "/var/tmp/"}) {
    if (::access((place + kept.name_in_tmp + "-attacker").c_str(), F_OK) == 0) out += " tmp";
  }
  ::printf("%s\n", out.c_str());
  ::fflush(stdout);
}

}  // namespace

int be_victim(const std::string& token) {
  Target self;
  self.token = token;
  ::signal(SIGPIPE, SIG_IGN);
  for (const int number : {SIGUSR1, SIGUSR2, SIGHUP}) ::signal(number, [](int) { signalled = 1; });
  Kept kept;
  char here[4096];
  if (::getcwd(here, sizeof here) == nullptr) return 1;
  kept.folder = std::string(here) + "/probe-" + token;
  kept.file = kept.folder + "/code";
  kept.file_text = canary(self, "file");
  kept.name_in_tmp = abstract_name(self);
  ::mkdir(kept.folder.c_str(), 0755);
  // Readable for everybody as far as its own mode goes, as programs' files are.
  write_file(kept.file, kept.file_text, 0644);
  for (const char* place : {"/tmp/", "/dev/shm/", "/var/tmp/"})
    write_file(place + kept.name_in_tmp, canary(self, "tmp"), 0666);
  ::getrlimit(RLIMIT_NOFILE, &kept.descriptors);
  kept.oom_score = read_all("/proc/self/oom_score_adj", 64);

  sockaddr_in loopback{};
  loopback.sin_family = AF_INET;
  loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int tcp = listen_on(reinterpret_cast<const sockaddr*>(&loopback), sizeof loopback);
  socklen_t size = sizeof loopback;
  if (tcp >= 0) ::getsockname(tcp, reinterpret_cast<sockaddr*>(&loopback), &size);
  sockaddr_un abstract{};
  abstract.sun_family = AF_UNIX;
  const std::string name = abstract_name(self);
  ::memcpy(abstract.sun_path + 1, name.data(), name.size());
  const int local = listen_on(reinterpret_cast<const sockaddr*>(&abstract),
                              static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size()));
  const int shared = ::shmget(shared_memory_key(self), 4096, IPC_CREAT | 0666);
  if (shared >= 0) {
    void* const at = ::shmat(shared, nullptr, 0);
    const std::string text = canary(self, "shm");
    if (reinterpret_cast<std::intptr_t>(at) != -1) ::memcpy(at, text.c_str(), text.size() + 1);
  }
  // In memory that is neither arguments nor environment.
  std::string secret = canary(self, "memory");
  ::printf("ready %d %s %s\n", tcp >= 0 ? ntohs(loopback.sin_port) : 0, kept.folder.c_str(), shared >= 0 ? "shm" : "-");
  ::fflush(stdout);

  pollfd waiting[] = {{0, POLLIN, 0}, {tcp, POLLIN, 0}, {local, POLLIN, 0}};
  while (true) {
    if (::poll(waiting, 3, -1) < 0) {
      if (errno == EINTR) continue;
      break;
    }
    if ((waiting[1].revents & POLLIN) != 0) answer(tcp, canary(self, "port"));
    if ((waiting[2].revents & POLLIN) != 0) answer(local, canary(self, "abstract"));
    if (waiting[0].revents == 0) continue;
    char words[256];
    if (::read(0, words, sizeof words) <= 0) break;
    tell(kept);
  }
  for (const char* place : {"/tmp/", "/dev/shm/", "/var/tmp/"}) ::unlink((place + kept.name_in_tmp).c_str());
  if (shared >= 0) ::shmctl(shared, IPC_RMID, nullptr);
  ::unlink(kept.file.c_str());
  ::rmdir(kept.folder.c_str());
  return secret.empty() ? 1 : 0;
}

}  // namespace mcpbox::box::probe
