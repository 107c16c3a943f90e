#include "egress/control/egress_process.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/write.hpp>

#include "base/errno_error.h"
#include "base/setting_name.h"
#include "base/unique_fd.h"
#include "egress/control/stream.h"
#include "net/child_process.h"
#include "net/wait.h"
#include "sys/child.h"

namespace mcpbox::egress {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

struct EgressProcess::Impl {
  Impl(asio::any_io_executor e, sys::Child started) : executor(e), control(e), changed(e), child(std::move(started)) {}

  Task<Result<void>> call(std::string line);
  Task<Result<void>> exchange(const std::string& line);

  asio::any_io_executor executor;
  Stream control;
  net::Signal changed;
  sys::Child child;
  bool busy = false;
  std::string unread;
};

EgressLaunch egress_launch(const std::string& socket_path, const std::string& audit_directory, mode_t socket_mode) {
  EgressLaunch launch;
  launch.argv = {"mcpbox", "egress", "serve", "--listen", socket_path, "--audit", audit_directory};
  if (socket_mode != 0600) {
    launch.argv.push_back("--socket-mode");
    launch.argv.push_back(fmt::format("{:o}", socket_mode));
  }
  // Its refusals are read by who started us.
  if (settings_from() == SettingsFrom::kOptions) launch.argv.push_back("--for-options");
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
  sys::SpawnOptions spawning;
  spawning.program = launch.program;
  spawning.argv = launch.argv;
  spawning.descriptors = {{STDOUT_FILENO, STDOUT_FILENO}, {STDERR_FILENO, STDERR_FILENO}, {theirs.get(), 3}};
  auto child = sys::spawn(spawning);
  if (!child) return fail(std::move(child).error().with_context("the egress proxy"));
  auto impl = std::make_shared<Impl>(executor, std::move(*child));
  boost::system::error_code failed;
  impl->control.assign(asio::generic::stream_protocol(AF_UNIX, 0), ours.get(), failed);
  if (failed)
    return fail(Code::kInternal, fmt::format("the egress proxy cannot be told anything: {}", failed.message()));
  (void)ours.release();
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
    control.close(ignored);
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
  (void)co_await net::wait_for_end(impl->child, Clock::time_point::max());
}

Task<void> EgressProcess::stop() {
  const auto impl = impl_;
  boost::system::error_code ignored;
  impl->control.close(ignored);
  if (co_await net::wait_for_end(impl->child, Clock::now() + std::chrono::seconds(2))) co_return;
  impl->child.kill_group();
  (void)co_await net::wait_for_end(impl->child, Clock::now() + std::chrono::seconds(2));
}

pid_t EgressProcess::pid() const {
  return impl_->child.pid();
}

}  // namespace mcpbox::egress
