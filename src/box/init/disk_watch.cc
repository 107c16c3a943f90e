#include "box/init/disk_watch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "box/init/descriptors.h"

namespace mcpbox::box::init {
namespace {

// A start is not held up by it.
constexpr std::chrono::milliseconds kLater{50};
constexpr std::chrono::milliseconds kAgain{1000};
constexpr std::chrono::milliseconds kFull{10};  // of the link: until it has room again
constexpr std::size_t kMaxNews = 256;

[[noreturn]] void be_walker(UniqueFd link) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::prctl(PR_SET_NAME, "mcpbox-walker", 0, 0, 0);
  (void)::setpriority(PRIO_PROCESS, 0, 10);
  struct rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = std::min<rlim_t>(files.rlim_max, 65'536);
    (void)::setrlimit(RLIMIT_NOFILE, &files);
  }
  if (close_all_but({link.get()}) == 0) walk_for(link.get());
  ::_exit(1);
}

}  // namespace

void DiskWatch::watch(uid_t uid, gid_t gid, const wire::ServerLimits& limits) {
  const auto [found, fresh] = watched_.try_emplace(uid);
  Watched& watched = found->second;
  if (!fresh) ++watched.watches;
  watched.order = {uid, gid, limits};
  if (limits.disk_bytes == 0 && limits.files == 0) return;
  changed_.insert(uid);
  if (pid_ > 0) return send_changes();
  if (launching_ == 0) launch_later();
}

void DiskWatch::unwatch(uid_t uid) {
  const auto found = watched_.find(uid);
  if (found == watched_.end() || --found->second.watches != 0) return;
  watched_.erase(found);
  changed_.insert(uid);
  if (pid_ > 0) send_changes();
}

void DiskWatch::launch_later() {
  launching_ = loop_.at(EventLoop::Clock::now() + kLater, [this] {
    launching_ = 0;
    if (!watched_.empty()) launch();
  });
}

void DiskWatch::launch() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0) {
    link_.reset(ends[0]);
    UniqueFd theirs(ends[1]);
    pid_ = ::fork();
    if (pid_ == 0) be_walker(std::move(theirs));
  }
  if (pid_ > 0 && loop_.watch(link_.get(), EPOLLIN, [this](unsigned) { hear(); }) == 0) {
    for (const auto& [uid, watched] : watched_) changed_.insert(uid);
    return send_changes();
  }
  ::dprintf(2, "mcpbox-init: cannot watch the servers' folders (errno %d)\n", errno);
  if (pid_ > 0) return (void)::kill(pid_, SIGKILL);  // reaped() tries again
  launching_ = loop_.at(EventLoop::Clock::now() + kAgain, [this] {
    launching_ = 0;
    launch();
  });
}

// One that takes no orders any more is of no use; the next one hears all that holds.
void DiskWatch::send_changes() {
  while (pid_ > 0 && sending_ == 0 && !changed_.empty()) {
    const uid_t uid = *changed_.begin();
    const auto found = watched_.find(uid);
    wire::Encoder encoder;
    encoder(found == watched_.end() ? WalkOrder{uid, 0, {}} : found->second.order);
    const std::string bytes = encoder.take();
    if (::send(link_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
      changed_.erase(uid);
    } else if (errno == EAGAIN) {
      sending_ = loop_.at(EventLoop::Clock::now() + kFull, [this] {
        sending_ = 0;
        send_changes();
      });
    } else {
      const int error = errno;
      ::dprintf(2, "mcpbox-init: cannot watch the folders of uid %u (errno %d)\n", uid, error);
      changed_.erase(uid);  // too many folders: the link is never wide enough
      if (error != EMSGSIZE) return (void)::kill(pid_, SIGKILL);
    }
  }
}

void DiskWatch::hear() {
  char packet[kMaxNews];
  ssize_t got = 0;
  while ((got = ::recv(link_.get(), packet, sizeof packet, MSG_DONTWAIT)) > 0) {
    wire::Decoder decoder(std::string_view(packet, static_cast<std::size_t>(got)));
    WalkNews news;
    decoder(news);
    if (decoder.done() && watched_.contains(news.uid)) passed_(news.uid, news.passed);
  }
  if (got == 0 || (errno != EAGAIN && errno != EINTR)) loop_.unwatch(link_.get());
}

bool DiskWatch::reaped(pid_t pid) {
  if (pid != pid_) return false;
  pid_ = -1;
  loop_.unwatch(link_.get());
  link_.reset();
  ::dprintf(2, "mcpbox-init: the walker of the servers' folders ended and is started again\n");
  if (launching_ == 0) {
    launching_ = loop_.at(EventLoop::Clock::now() + kAgain, [this] {
      launching_ = 0;
      if (!watched_.empty()) launch();
    });
  }
  return true;
}

}  // namespace mcpbox::box::init
