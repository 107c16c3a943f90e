#include "box/init/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "box/init/landlock.h"
#include "box/init/seccomp_filter.h"

namespace mcpbox::box::init {
namespace {

constexpr std::size_t kMaxControllers = 8;
constexpr auto kHelloTime = std::chrono::seconds(10);
constexpr auto kLonelyTime = std::chrono::seconds(60);

void complain(const char* what, const char* why) {
  ::dprintf(2, "mcpbox-init: %s: %s\n", what, why);
}

}  // namespace

Server::Server(ServerOptions options, Roots roots, UniqueFd listener, UniqueFd signals,
               std::unique_ptr<EgressRelay> relay)
    : options_(std::move(options)),
      roots_(std::move(roots)),
      listener_(std::move(listener)),
      signals_(std::move(signals)),
      relay_(std::move(relay)),
      accountant_(loop_, Accountant::Links{
                             [this](LookRequest request, auto done) { look_at(std::move(request), std::move(done)); },
                             [this](uid_t uid, const wire::PassedLimit& limit) { end_server(uid, limit); },
                             [this](uid_t uid, gid_t gid, std::vector<pid_t> pids, KernelTurn turn) {
                               tell_turn(uid, gid, std::move(pids), turn);
                             },
                             [this](uid_t uid, unsigned processors, std::uint64_t tasks) {
                               say_pressing(uid, processors, tasks);
                             },
                             [this](uid_t uid) { return table_.held_by(uid); }, options_.groups.memory_directory(),
                             [this](uid_t uid, bool behind, bool apart) { return place(uid, behind, apart); },
                             options_.groups.processor_usage(), options_.groups.processor_limit()}),
      disks_(loop_, [this](uid_t uid, const wire::PassedLimit& limit) { end_server(uid, limit); }),
      table_(
          loop_, roots_, options_.groups, options_.way, relay_.get(), accountant_, disks_,
          [this](const Process& process) {
            const auto found = controllers_.find(active_);
            if (found == controllers_.end()) return;
            auto payload = wire::encode(wire::Exited{process.id, *process.exit});
            if (payload) found->second.connection->send(wire::MessageType::kExited, 0, *payload);
          },
          [this](uid_t uid, const wire::PassedLimit& limit) { end_server(uid, limit); }),
      farewell_(loop_, Farewell::Links{[this](const std::string& id, pid_t pid) {
                                         auto process = table_.find(id);
                                         return process && (*process)->running && (*process)->pid == pid;
                                       },
                                       [this](uid_t uid) { return accountant_.processes_of(uid); },
                                       [this](const std::string& id, uid_t uid, Patience::Step step) {
                                         take_leave(id, uid, step);
                                       }}),
      helpers_(loop_),
      mover_(loop_, helpers_, options_.groups) {
  accountant_.count_also(options_.groups.idle_usage());
  if (::getrandom(&boot_token_, sizeof boot_token_, 0) != static_cast<ssize_t>(sizeof boot_token_)) boot_token_ = 1;
}

int Server::run() {
  if (relay_) relay_->start(loop_);
  table_.get_ready();
  int error = loop_.watch(listener_.get(), EPOLLIN, [this](unsigned) { accept_controller(); });
  if (error == 0) error = loop_.watch(signals_.get(), EPOLLIN, [this](unsigned) { on_signals(); });
  if (options_.ephemeral) {
    loop_.at(EventLoop::Clock::now() + kLonelyTime, [this] {
      if (active_ == 0) end_sandbox();
    });
  }
  if (error == 0) error = loop_.run();
  if (error == 0) return 0;
  ::dprintf(2, "mcpbox-init: cannot wait for controllers (errno %d)\n", error);
  return 1;
}

void Server::accept_controller() {
  UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) return;
  ucred peer{};
  socklen_t length = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return;
  if (peer.uid != options_.owner && peer.uid != 0) return complain("refused a controller", "it has another uid");
  // A server may run with the owner's uid (bound folders). Controllers live outside of our pid namespace, where they
  // have no number that we could see.
  if (peer.pid != 0) return complain("refused a controller", "it runs inside of the sandbox");
  if (controllers_.size() >= kMaxControllers) return complain("refused a controller", "too many are connected");
  const Serial serial = ++next_serial_;
  Controller& controller = controllers_[serial];
  controller.hello_timer =
      loop_.at(EventLoop::Clock::now() + kHelloTime, [this, serial] { drop(serial, "it did not say hello"); });
  controller.connection = std::make_unique<Connection>(
      loop_, std::move(socket),
      Connection::Handlers{[this, serial](const wire::Frame& frame, std::vector<UniqueFd> fds) {
                             on_frame(serial, frame, std::move(fds));
                           },
                           [this, serial](const char* why) { on_closed(serial, why); }});
}

void Server::on_frame(Serial serial, const wire::Frame& frame, std::vector<UniqueFd> fds) {
  const auto found = controllers_.find(serial);
  if (found == controllers_.end()) return;
  if (!found->second.welcome) return hello(serial, frame);
  dispatch({serial, frame.id}, frame, std::move(fds));
}

void Server::hello(Serial serial, const wire::Frame& frame) {
  Controller& controller = controllers_.at(serial);
  auto request = wire::decode<wire::Hello>(frame.payload);
  if (frame.type != wire::MessageType::kHello || !request) return drop(serial, "its first message was no hello");
  if (request->oldest > wire::kProtocolVersion || request->newest < wire::kOldestProtocolVersion) {
    reply_error({serial, frame.id},
                wire::make_error(Code::kUnsupported, "agree on a protocol",
                                 "this mcpbox-init speaks version " + std::to_string(wire::kProtocolVersion) +
                                     "; recreate the sandbox with the mcpbox-init of this mcpbox"));
    return drop(serial, "it speaks another protocol version");
  }
  loop_.cancel(controller.hello_timer);
  controller.welcome = true;
  const Serial previous = std::exchange(active_, serial);
  utsname names{};
  ::uname(&names);
  reply({serial, frame.id}, wire::HelloReply{std::min(request->newest, wire::kProtocolVersion), landlock_abi(),
                                             has_seccomp_filters(), boot_token_, names.release});
  for (const auto& [id, process] : table_.all()) {
    if (!process->exit) continue;
    auto payload = wire::encode(wire::Exited{id, *process->exit});
    if (payload) controller.connection->send(wire::MessageType::kExited, 0, *payload);
  }
  if (previous != 0) drop(previous, "another controller took over");
}

// The connection may be the one whose frame is handled right now, so it is destroyed when that is over.
void Server::drop(Serial serial, const char* why) {
  loop_.defer([this, serial, why] { on_closed(serial, why); });
}

void Server::on_closed(Serial serial, const char* why) {
  const auto found = controllers_.find(serial);
  if (found == controllers_.end()) return;
  loop_.cancel(found->second.hello_timer);
  controllers_.erase(found);
  complain("a controller is gone", why);
  if (serial != active_) return;
  active_ = 0;
  if (options_.ephemeral) end_sandbox();
}

void Server::on_signals() {
  signalfd_siginfo info{};
  bool ended = false;
  while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo == SIGCHLD) ended = true;
    // From the outside a sender has no pid here; from the inside nobody may stop the sandbox.
    if (info.ssi_signo == SIGTERM && info.ssi_pid == 0) return end_sandbox();
  }
  if (ended) reap();
}

void Server::reap() {
  std::vector<std::function<void()>> after;
  int status = 0;
  rusage usage{};
  pid_t pid = 0;
  while ((pid = ::wait4(-1, &status, WNOHANG, &usage)) > 0) {
    if (const auto killer = when_reaped_.extract(pid)) {
      after.push_back(std::move(killer.mapped()));
    } else if (!(relay_ && relay_->reaped(pid, status)) && !disks_.reaped(pid) && !helpers_.reaped(pid)) {
      table_.reaped(pid, status, usage);  // or an orphan, of which there is nothing to tell
    }
  }
  for (const auto& call : after) call();  // once nobody is left to be reaped
}

void Server::end_sandbox() {
  ::kill(-1, SIGKILL);
  for (auto& [serial, controller] : controllers_) controller.connection->flush();
  loop_.stop();
}

void Server::reply_bytes(Origin origin, std::string_view payload, const std::vector<int>& fds) {
  const auto found = controllers_.find(origin.connection);
  if (found != controllers_.end()) found->second.connection->send(wire::MessageType::kReply, origin.id, payload, fds);
}

void Server::reply_error(Origin origin, const wire::ErrorReply& error) {
  const auto found = controllers_.find(origin.connection);
  if (found == controllers_.end()) return;
  auto payload = wire::encode(error);
  // A step names paths and programs of the request, which may be as long as a string can be: cut rather than lost.
  if (!payload)
    payload = wire::encode(wire::ErrorReply{error.code, error.error_number, error.step.substr(0, 1024), ""});
  if (payload) found->second.connection->send(wire::MessageType::kErrorReply, origin.id, *payload);
}

}  // namespace mcpbox::box::init
