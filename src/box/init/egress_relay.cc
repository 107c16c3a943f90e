#include "box/init/egress_relay.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>

#include "box/init/descriptors.h"
#include "box/init/landlock.h"
#include "box/init/loopback.h"
#include "box/init/priority.h"
#include "box/init/relay_loop.h"
#include "box/init/sandbox_child.h"
#include "box/init/seccomp_filter.h"

namespace mcpbox::box::init {
namespace {

constexpr auto kShortLife = std::chrono::seconds(1);

// setfsuid(2) reports the previous value and never an error.
bool become_for_files(uid_t owner) {
  ::setfsuid(owner);
  return static_cast<uid_t>(::setfsuid(~0u)) == owner;
}

// Gives everything away that the relay does not need. Returns errno and names the step.
int confine(int directory, uid_t owner, std::string& step) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  if (int error = drop_bounding_set(step)) return error;
  step = "take the file-system uid of the proxy's owner";
  if (!become_for_files(owner)) return EPERM;
  step = "enter the proxy's directory";
  if (::fchdir(directory) != 0) return errno;
  step = "drop capabilities";
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  if (::syscall(SYS_capset, &header, none) != 0) return errno;
  step = "set no_new_privs";
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return errno;
  LandlockRules rules;
  rules.system = false;
  if (int error = apply_landlock(rules, step)) return error;
  step = "install the seccomp filter";
  return install_seccomp_filter(build_seccomp_filter());
}

}  // namespace

Op<std::unique_ptr<EgressRelay>> EgressRelay::open(std::uint16_t port, const std::string& socket, uid_t owner,
                                                   UniqueFd directory) {
  auto relay = std::make_unique<EgressRelay>();
  const std::size_t slash = socket.rfind('/');
  relay->socket_name_ = socket.substr(slash + 1);
  relay->owner_ = owner;
  relay->directory_ = std::move(directory);
  if (!relay->directory_)
    relay->directory_.reset(::open(socket.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!relay->directory_) return failed("open the directory of '" + socket + "'");
  auto listener = listen_on_loopback(port);
  if (!listener) return std::unexpected(listener.error());
  relay->listener_ = std::move(*listener);
  return relay;
}

void EgressRelay::start(EventLoop& loop) {
  loop_ = &loop;
  launch();
}

WayOut::~WayOut() {
  if (relay_ != nullptr) relay_->drop(number_);
}

WayOut EgressRelay::serve(UniqueFd listener, uid_t uid) {
  const std::uint32_t number = ++next_way_;
  const Way& way = ways_[number] = Way{std::move(listener), uid};
  order({RelayOrder::Kind::kServe, number, uid}, way.listener.get());
  return WayOut(*this, number);
}

void EgressRelay::drop(std::uint32_t number) {
  ways_.erase(number);
  order({RelayOrder::Kind::kDrop, number, 0}, -1);
}

// One that takes no orders any more is of no use; the next one hears all that holds.
void EgressRelay::order(const RelayOrder& order, int descriptor) {
  if (pid_ > 0 && !send_order(orders_.get(), order, descriptor)) ::kill(pid_, SIGKILL);
}

void EgressRelay::launch() {
  started_ = EventLoop::Clock::now();
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0) {
    orders_.reset(ends[0]);
    UniqueFd theirs(ends[1]);
    pid_ = ::fork();
    if (pid_ == 0) be_relay(std::move(theirs));
  }
  if (pid_ > 0) {
    for (const auto& [number, way] : ways_) order({RelayOrder::Kind::kServe, number, way.uid}, way.listener.get());
    return;
  }
  ::dprintf(2, "mcpbox-init: cannot start the egress relay (errno %d)\n", errno);
  loop_->at(started_ + kShortLife, [this] { launch(); });
}

void EgressRelay::be_relay(UniqueFd orders) {
  give_up_priority(For::kAll);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  std::string step = "close inherited descriptors";
  int error = close_all_but({listener_.get(), directory_.get(), orders.get()});
  ::prctl(PR_SET_NAME, "mcpbox-relay", 0, 0, 0);
  std::optional<PeerUids> uids;
  if (error == 0) {
    step = "ask the kernel whose a connection is";
    uids = PeerUids::open();
    error = uids ? confine(directory_.get(), owner_, step) : errno;
  }
  if (error == 0) {
    directory_.reset();
    RelayLoop relay(listener_.get(), std::move(orders), socket_name_, std::move(*uids));
    relay.speak_for(sandbox_);
    relay.run();
    step = "wait for connections";
    error = errno;
  }
  ::dprintf(2, "mcpbox-init: the egress relay cannot %s (errno %d)\n", step.c_str(), error);
  ::_exit(1);
}

bool EgressRelay::reaped(pid_t pid, int status) {
  if (pid != pid_) return false;
  pid_ = -1;
  ::dprintf(2, "mcpbox-init: the egress relay ended (status %d) and is started again\n", status);
  const auto now = EventLoop::Clock::now();
  loop_->at(now - started_ < kShortLife ? started_ + kShortLife : now, [this] { launch(); });
  return true;
}

}  // namespace mcpbox::box::init
