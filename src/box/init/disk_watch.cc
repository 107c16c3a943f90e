#include "box/init/disk_watch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "box/init/descriptors.h"
#include "box/init/priority.h"

namespace mcpbox::box::init {
namespace {

// A start is not held up by it.
constexpr std::chrono::milliseconds kLater{50};
constexpr std::chrono::milliseconds kAgain{1000};
// One that ends before is not of use; after kEarly of them in a row the next one comes later.
constexpr std::chrono::seconds kUseful{5}, kMuchLater{60};
constexpr unsigned kEarly = 3;
constexpr std::size_t kMaxNews = 256;

[[noreturn]] void be_walker(UniqueFd link, const std::vector<WalkOrder>& orders) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::prctl(PR_SET_NAME, "mcpbox-walker", 0, 0, 0);
  // With no priority to give up, behind the servers: it is to cost them nothing.
  if (!give_up_priority(For::kAll)) (void)::setpriority(PRIO_PROCESS, 0, 10);
  struct rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = std::min<rlim_t>(files.rlim_max, 65'536);
    (void)::setrlimit(RLIMIT_NOFILE, &files);
  }
  if (close_all_but({link.get()}) == 0) walk_for(link.get(), orders);
  ::_exit(1);
}

std::uint64_t wall_clock() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);  // as the file systems have it
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

void DiskWatch::watch(uid_t uid, gid_t gid, const wire::ServerLimits& limits) {
  const auto [found, fresh] = watched_.try_emplace(uid);
  Watched& watched = found->second;
  if (!fresh) ++watched.watches;
  watched.known = false;
  watched.order = {uid, gid, limits, ++last_serial_, wall_clock()};
  if (limits.disk_bytes == 0 && limits.files == 0) return;
  if (pid_ > 0) return tell(uid);
  if (launching_ == 0) launch_in(kLater);
}

void DiskWatch::unwatch(uid_t uid) {
  const auto found = watched_.find(uid);
  if (found == watched_.end() || --found->second.watches != 0) return;
  watched_.erase(found);
  if (pid_ > 0) tell(uid);
}

void DiskWatch::launch_in(std::chrono::milliseconds pause) {
  launching_ = loop_.at(EventLoop::Clock::now() + pause, [this] {
    launching_ = 0;
    if (!watched_.empty()) launch();
  });
}

std::vector<WalkOrder> DiskWatch::orders() const {
  std::vector<WalkOrder> out;
  for (const auto& [uid, watched] : watched_) {
    if (watched.order.limits.disk_bytes != 0 || watched.order.limits.files != 0) out.push_back(watched.order);
  }
  return out;
}

void DiskWatch::launch() {
  int ends[2];
  waiting_.clear();
  launched_ = EventLoop::Clock::now();
  // What came to mounted folders while nobody looked is nobody's.
  for (auto& [uid, watched] : watched_) {
    if (std::exchange(watched.known, true)) watched.order.since = wall_clock();
  }
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0) {
    link_.reset(ends[0]);
    UniqueFd theirs(ends[1]);
    pid_ = ::fork();
    if (pid_ == 0) be_walker(std::move(theirs), orders());  // more than the link would take
  }
  if (pid_ > 0 && loop_.watch(link_.get(), EPOLLIN, [this](unsigned) { hear(); }) == 0) return;
  ::dprintf(2, "mcpbox-init: cannot watch the servers' folders (errno %d)\n", errno);
  if (pid_ > 0) return (void)::kill(pid_, SIGKILL);  // reaped() tries again
  launch_in(kAgain);
}

void DiskWatch::tell(uid_t uid) {
  waiting_.insert(uid);
  send_waiting();
}

// What it does not take now waits, as the latest that holds for the uid.
void DiskWatch::send_waiting() {
  bool full = false;
  while (!waiting_.empty() && !full) {
    const uid_t uid = *waiting_.begin();
    const auto found = watched_.find(uid);
    wire::Encoder encoder;
    encoder(found == watched_.end() ? WalkOrder{uid, 0, {}, 0, 0} : found->second.order);
    const std::string bytes = encoder.take();
    const ssize_t sent = ::send(link_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    full = sent < 0 && (errno == EAGAIN || errno == ENOBUFS);
    if (sent < 0 && !full) {
      too_long_ = errno == EMSGSIZE;
      return (void)::kill(pid_, SIGKILL);  // the next one begins with all that holds
    }
    if (full) break;
    if (found != watched_.end()) found->second.known = true;
    waiting_.erase(waiting_.begin());
  }
  const unsigned events = full ? EPOLLIN | EPOLLOUT : EPOLLIN;
  if (loop_.watch(link_.get(), events, [this](unsigned ready) {
        if ((ready & EPOLLOUT) != 0) send_waiting();
        hear();
      }) != 0)
    ::kill(pid_, SIGKILL);
}

void DiskWatch::hear() {
  char packet[kMaxNews];
  ssize_t got = 0;
  while ((got = ::recv(link_.get(), packet, sizeof packet, MSG_DONTWAIT)) > 0) {
    wire::Decoder decoder(std::string_view(packet, static_cast<std::size_t>(got)));
    WalkNews news;
    decoder(news);
    if (!decoder.done()) continue;
    const auto found = watched_.find(news.uid);
    if (found != watched_.end() && found->second.order.serial == news.serial) passed_(news.uid, news.passed);
  }
  if (got == 0 || (errno != EAGAIN && errno != EINTR)) loop_.unwatch(link_.get());
}

bool DiskWatch::reaped(pid_t pid) {
  if (pid != pid_) return false;
  pid_ = -1;
  loop_.unwatch(link_.get());
  link_.reset();
  if (std::exchange(too_long_, false)) {
    if (launching_ == 0) launch_in(kLater);
    return true;
  }
  ended_early_ = EventLoop::Clock::now() - launched_ < kUseful ? ended_early_ + 1 : 0;
  const bool hopeless = ended_early_ >= kEarly;
  ::dprintf(2, hopeless ? "mcpbox-init: the walker of the servers' folders cannot work here: no limit of disk or files "
                          "(disk_mb, max_files) holds; it is tried again each minute\n"
                        : "mcpbox-init: the walker of the servers' folders ended and is started again\n");
  if (launching_ == 0) launch_in(hopeless ? kMuchLater : kAgain);
  return true;
}

}  // namespace mcpbox::box::init
