#include "egress/control/egress_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>

#include "base/errno_error.h"
#include "base/unique_fd.h"
#include "egress/control/stream.h"
#include "net/wait.h"

namespace mcpbox::egress {

namespace asio = boost::asio;

struct EgressProcess::Impl {
  explicit Impl(asio::any_io_executor e) : executor(e), control(e), exit(e), changed(e) {}
  ~Impl() {
    if (!reaped && pid > 0) {
      ::kill(pid, SIGKILL);
      reap();
    }
  }

  void reap() {
    siginfo_t info{};
    // The descriptor, not the number: the number may have been given to another process.
    ::waitid(P_PIDFD, static_cast<id_t>(exit.is_open() ? exit.native_handle() : -1), &info, WEXITED);
    reaped = true;
  }

  Task<Result<void>> call(std::string line);
  Task<Result<void>> exchange(const std::string& line);

  asio::any_io_executor executor;
  Stream control;
  asio::posix::stream_descriptor exit;  // a pidfd: readable when the process has ended
  net::Signal changed;
  pid_t pid = -1;
  bool reaped = false, busy = false;
  std::string unread;
};

EgressLaunch egress_launch(const std::string& socket_path, const std::string& audit_directory, mode_t socket_mode) {
  EgressLaunch launch;
  launch.argv = {"mcpbox", "egress", "serve", "--listen", socket_path, "--audit", audit_directory};
  if (socket_mode != 0600) {
    launch.argv.push_back("--socket-mode");
    launch.argv.push_back(fmt::format("{:o}", socket_mode));
  }
  return launch;
}

EgressProcess::EgressProcess(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
EgressProcess::~EgressProcess() = default;

Result<std::unique_ptr<EgressProcess>> EgressProcess::start(asio::any_io_executor executor,
                                                            const EgressLaunch& launch) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    return fail(errno_error(errno, "make the egress proxy's control channel"));
  UniqueFd ours(pair[0]), theirs(pair[1]);
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  // A dup onto itself would keep close-on-exec on 3; move it out of the way first.
  const UniqueFd high(::fcntl(theirs.get(), F_DUPFD_CLOEXEC, 10));
  ::posix_spawn_file_actions_adddup2(&actions, null.get(), 0);
  ::posix_spawn_file_actions_adddup2(&actions, high.get(), 3);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, 4);
  // Its own process group: a signal to ours is not for it. Default signals, none blocked.
  sigset_t all, none;
  ::sigfillset(&all);
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  std::vector<char*> argv;
  std::vector<std::string> words = launch.argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  char* environment[] = {nullptr};
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, launch.program.c_str(), &actions, &attributes, argv.data(), environment);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return fail(errno_error(error, fmt::format("start the egress proxy '{}'", launch.program)));

  auto impl = std::make_shared<Impl>(executor);
  impl->pid = pid;
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  boost::system::error_code failed;
  if (pidfd >= 0) (void)impl->exit.assign(pidfd, failed);
  if (pidfd >= 0 && !failed)
    (void)impl->control.assign(asio::generic::stream_protocol(AF_UNIX, 0), ours.release(), failed);
  if (pidfd < 0 || failed) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    impl->reaped = true;
    return fail(Code::kInternal, "the egress proxy cannot be watched (Linux 5.3 is needed for pidfd_open)");
  }
  return std::unique_ptr<EgressProcess>(new EgressProcess(std::move(impl)));
}

Task<Result<void>> EgressProcess::Impl::exchange(const std::string& line) {
  const auto gone = [] { return fail(Code::kUnavailable, "the egress proxy has gone; its log line above says why"); };
  if (!control.is_open()) co_return gone();
  const Deadline deadline(control, std::chrono::seconds(5));
  auto [error, written] = co_await asio::async_write(control, asio::buffer(line), kTuple);
  while (!error && !unread.contains('\n') && unread.size() < kMaxControlLine) {
    char piece[4096];
    std::size_t size = 0;
    std::tie(error, size) = co_await control.async_read_some(asio::buffer(piece), kTuple);
    unread.append(piece, size);
  }
  const std::size_t end = unread.find('\n');
  if (end == std::string::npos) {
    // Answers would no longer belong to their commands.
    boost::system::error_code ignored;
    (void)control.close(ignored);
    if (deadline.passed()) co_return fail(Code::kTimeout, "the egress proxy gave no answer within 5 s");
    co_return gone();
  }
  const std::string answer = unread.substr(0, end);
  unread.erase(0, end + 1);
  co_return parse_control_answer(answer);
}

Task<Result<void>> EgressProcess::Impl::call(std::string line) {
  while (busy) co_await changed.wait();
  struct Busy {
    Impl& self;
    explicit Busy(Impl& impl) : self(impl) { self.busy = true; }
    ~Busy() {
      self.busy = false;
      self.changed.notify();
    }
  } const guard(*this);
  auto result = co_await exchange(line);
  co_return result;
}

Task<Result<void>> EgressProcess::configure(NetworkText network) {
  const auto impl = impl_;
  co_return co_await impl->call(configure_line(network));
}

Task<Result<void>> EgressProcess::register_process(RegistrationText registration) {
  const auto impl = impl_;
  co_return co_await impl->call(register_line(registration));
}

Task<Result<void>> EgressProcess::unregister_process(std::string process) {
  const auto impl = impl_;
  co_return co_await impl->call(unregister_line(process));
}

Task<Result<void>> EgressProcess::ping() {
  const auto impl = impl_;
  co_return co_await impl->call(ping_line());
}

Task<void> EgressProcess::ended() {
  const auto impl = impl_;
  if (impl->reaped) co_return;
  auto [error] = co_await impl->exit.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
  if (!error && !impl->reaped) impl->reap();
}

Task<void> EgressProcess::stop() {
  const auto impl = impl_;
  boost::system::error_code ignored;
  (void)impl->control.close(ignored);
  if (impl->reaped) co_return;
  {
    asio::steady_timer timer(impl->executor, std::chrono::seconds(2));
    timer.async_wait([weak = std::weak_ptr(impl)](boost::system::error_code error) {
      const auto self = weak.lock();
      if (!error && self && !self->reaped) ::kill(self->pid, SIGKILL);
    });
    auto [error] = co_await impl->exit.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
    (void)error;
  }
  if (!impl->reaped) {
    ::kill(impl->pid, SIGKILL);
    impl->reap();
  }
}

pid_t EgressProcess::pid() const {
  return impl_->pid;
}

}  // namespace mcpbox::egress
