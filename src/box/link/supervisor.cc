#include "box/link/supervisor.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>
#include <utility>

#include "base/text.h"
#include "box/link/supervisor_convert.h"
#include "box/link/supervisor_link.h"
#include "box/link/supervisor_socket.h"

namespace mcpbox::box {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;

constexpr milliseconds kRequestTime = std::chrono::seconds(30);
// Trees can be large; mcpbox-init gives up by itself after 15 minutes.
constexpr milliseconds kTreeTime = std::chrono::minutes(16);
constexpr milliseconds kKillTime = std::chrono::seconds(10);

struct Answer {
  std::string payload;
  std::vector<UniqueFd> fds;
};

// The connection and whoever waits on it. Held by the socket's handlers, so it can outlive the Supervisor by a moment.
class Channel : public std::enable_shared_from_this<Channel> {
 public:
  Channel(asio::any_io_executor executor, UniqueFd socket)
      : executor_(std::move(executor)), socket_(std::make_shared<SupervisorSocket>(executor_, std::move(socket))) {}

  void start() {
    socket_->start(
        [weak = weak_from_this()](std::string_view bytes, std::vector<UniqueFd> fds) {
          if (auto self = weak.lock()) self->received(bytes, std::move(fds));
        },
        [weak = weak_from_this()](const Error& error) {
          if (auto self = weak.lock()) self->lose(error);
        });
  }

  template <class Message>
  Task<Result<Answer>> call(Message message, milliseconds timeout, std::vector<UniqueFd> fds = {}) {
    if (lost_) co_return fail(*lost_);
    auto request = link_.request(message, fds.size());
    if (!request) co_return fail(request.error());
    // The timer is the deadline and the bell at once: whoever has the answer moves it to the past.
    auto waiter = std::make_shared<Waiter>(executor_);
    waiter->timer.expires_after(timeout);
    waiters_[request->id] = waiter;
    if (auto sent = socket_->send(std::move(request->bytes), std::move(fds)); !sent) {
      waiters_.erase(request->id);
      co_return fail(sent.error());
    }
    const Remove remove{shared_from_this(), request->id};  // also when this coroutine is cancelled
    boost::system::error_code ended;
    co_await waiter->timer.async_wait(asio::redirect_error(asio::use_awaitable, ended));
    if (waiter->result) co_return std::move(*waiter->result);
    if (ended) co_return fail(Code::kCancelled, "the request to the sandbox's supervisor was cancelled");
    co_return fail(Code::kTimeout, fmt::format("the sandbox's supervisor did not answer within {}",
                                               human_milliseconds(static_cast<double>(timeout.count()))));
  }

  void on_exit(Supervisor::ExitHandler handler) {
    exit_handler_ = std::move(handler);
    if (!exit_handler_) return;
    for (auto& event : std::exchange(early_exits_, {})) deliver(event);
  }
  void on_lost(Supervisor::LostHandler handler) {
    if (lost_ && handler) return handler(*lost_);
    lost_handler_ = std::move(handler);
  }
  // No handler is called any more; what waits fails.
  void close() {
    exit_handler_ = nullptr;
    lost_handler_ = nullptr;
    socket_->close();
    if (!lost_) lose(Error(Code::kUnavailable, "the link to the sandbox's supervisor was closed"));
  }

 private:
  struct Waiter {
    explicit Waiter(const asio::any_io_executor& executor) : timer(executor) {}
    asio::steady_timer timer;
    std::optional<Result<Answer>> result;
  };
  struct Remove {
    std::shared_ptr<Channel> channel;
    std::uint64_t id;
    ~Remove() { channel->waiters_.erase(id); }
  };

  void received(std::string_view bytes, std::vector<UniqueFd> fds) {
    if (auto fed = link_.feed(bytes, std::move(fds)); !fed) {
      socket_->close();
      return lose(fed.error());
    }
    while (auto event = link_.next()) {
      if (auto* exited = std::get_if<wire::Exited>(&*event)) {
        deliver(*exited);
      } else {
        answer(std::get<SupervisorLink::Reply>(*event));
      }
      if (lost_) return;
    }
  }
  void answer(SupervisorLink::Reply& reply) {
    const auto found = waiters_.find(reply.id);
    if (found == waiters_.end()) return;  // timed out or cancelled: its descriptors are closed here
    const auto waiter = std::move(found->second);
    waiters_.erase(found);
    if (reply.payload) {
      waiter->result = Answer{std::move(*reply.payload), std::move(reply.fds)};
    } else {
      waiter->result = fail(reply.payload.error());
    }
    waiter->timer.expires_at(asio::steady_timer::time_point::min());
  }
  void deliver(const wire::Exited& exited) {
    if (!exit_handler_) {
      early_exits_.push_back(exited);
      return;
    }
    const auto handler = exit_handler_;  // it may replace itself
    handler(exited.id, to_exit(exited.exit));
  }
  void lose(const Error& error) {
    if (lost_) return;
    lost_ = error;
    for (auto& [id, waiter] : std::exchange(waiters_, {})) {
      waiter->result = fail(error);
      waiter->timer.expires_at(asio::steady_timer::time_point::min());
    }
    if (auto handler = std::exchange(lost_handler_, nullptr)) handler(error);
  }

  asio::any_io_executor executor_;
  std::shared_ptr<SupervisorSocket> socket_;
  SupervisorLink link_;
  std::map<std::uint64_t, std::shared_ptr<Waiter>> waiters_;
  std::vector<wire::Exited> early_exits_;
  Supervisor::ExitHandler exit_handler_;
  Supervisor::LostHandler lost_handler_;
  std::optional<Error> lost_;
};

class WireSupervisor final : public Supervisor {
 public:
  WireSupervisor(std::shared_ptr<Channel> channel, SupervisorInfo info)
      : channel_(std::move(channel)), info_(std::move(info)) {}
  ~WireSupervisor() override { channel_->close(); }

  const SupervisorInfo& info() const override { return info_; }
  void on_exit(ExitHandler handler) override { channel_->on_exit(std::move(handler)); }
  void on_lost(LostHandler handler) override { channel_->on_lost(std::move(handler)); }

  Task<Result<Spawned>> spawn(ProcessSpec spec) override {
    auto answer = co_await channel_->call(to_wire(std::move(spec)), kRequestTime);
    if (!answer) co_return fail(answer.error());
    auto reply = wire::decode<wire::SpawnReply>(answer->payload);
    if (!reply) co_return fail(reply.error());
    if (answer->fds.size() != 3)
      co_return fail(Code::kDataLoss, "supervisor link: a new process came without its pipes");
    co_return Spawned{reply->pid, {std::move(answer->fds[0]), std::move(answer->fds[1]), std::move(answer->fds[2])}};
  }
  Task<Result<pid_t>> spawn_direct(ProcessSpec spec, std::array<int, 3> stdio) override {
    std::vector<UniqueFd> fds;
    for (const int fd : stdio) {
      auto copy = duplicate(fd);
      if (!copy) co_return fail(copy.error());
      fds.push_back(std::move(*copy));
    }
    auto answer = co_await channel_->call(to_wire(std::move(spec)), kRequestTime, std::move(fds));
    if (!answer) co_return fail(answer.error());
    auto reply = wire::decode<wire::SpawnReply>(answer->payload);
    if (!reply) co_return fail(reply.error());
    co_return reply->pid;
  }
  Task<Result<ProcessPipes>> attach(std::string process_id) override {
    auto answer = co_await channel_->call(wire::Attach{std::move(process_id)}, kRequestTime);
    if (!answer) co_return fail(answer.error());
    auto reply = wire::decode<wire::AttachReply>(answer->payload);
    if (!reply) co_return fail(reply.error());
    ProcessPipes pipes;
    std::size_t next = 0;
    for (auto [there, target] : {std::pair{reply->in, &pipes.in}, {reply->out, &pipes.out}, {reply->err, &pipes.err}}) {
      if (!there) continue;
      if (next == answer->fds.size())
        co_return fail(Code::kDataLoss, "supervisor link: a process came without its pipes");
      *target = std::move(answer->fds[next++]);
    }
    co_return pipes;
  }
  Task<Result<void>> close_stdin(std::string process_id) override {
    return done(wire::CloseStdin{std::move(process_id)});
  }
  Task<Result<void>> signal(std::string process_id, int signal_number) override {
    return done(wire::Signal{std::move(process_id), signal_number});
  }
  Task<Result<unsigned>> kill_uid(uid_t uid, int signal_number) override {
    wire::KillUid request{uid, signal_number, static_cast<std::uint32_t>(kKillTime.count())};
    auto reply = co_await ask<wire::KillUidReply>(request, kKillTime + kRequestTime);
    if (!reply) co_return fail(reply.error());
    co_return reply->alive;
  }
  Task<Result<std::vector<ProcessStatus>>> list() override {
    auto reply = co_await ask<wire::ListReply>(wire::List{}, kRequestTime);
    if (!reply) co_return fail(reply.error());
    std::vector<ProcessStatus> out;
    for (wire::Listed& process : reply->processes) out.push_back(to_status(std::move(process)));
    co_return out;
  }
  Task<Result<void>> forget(std::string process_id) override { return done(wire::Forget{std::move(process_id)}); }

  Task<Result<void>> make_tree(std::string path, uid_t uid, gid_t gid, std::vector<std::string> children) override {
    return done(wire::MakeTree{std::move(path), uid, gid, std::move(children)});
  }
  Task<Result<void>> share_directory(std::string path, gid_t gid) override {
    return done(wire::ShareDirectory{std::move(path), gid});
  }
  Task<Result<UnpackTotals>> unpack(UnpackRequest what, UniqueFd stream) override {
    std::vector<UniqueFd> fds;
    fds.push_back(std::move(stream));
    const auto limit = std::clamp<milliseconds>(what.timeout, milliseconds(1), std::chrono::hours(1));
    wire::Unpack request{std::move(what.path),
                         what.uid,
                         what.gid,
                         what.into_existing,
                         static_cast<std::uint32_t>(limit.count()),
                         what.group_reads,
                         std::move(what.previous)};
    // mcpbox-init keeps the time, and cleans up when it is over.
    auto answer = co_await channel_->call(std::move(request), limit + std::chrono::minutes(2), std::move(fds));
    if (!answer) co_return fail(answer.error());
    auto reply = wire::decode<wire::UnpackReply>(answer->payload);
    if (!reply) co_return fail(reply.error());
    co_return UnpackTotals{reply->entries, reply->bytes};
  }
  Task<Result<PackTotals>> pack(PackRequest what, UniqueFd stream) override {
    std::vector<UniqueFd> fds;
    fds.push_back(std::move(stream));
    const auto limit = std::clamp<milliseconds>(what.timeout, milliseconds(1), std::chrono::hours(1));
    wire::Pack request{std::move(what.path), what.uid,   what.gid,        std::move(what.skip),
                       what.entries,         what.bytes, what.file_bytes, static_cast<std::uint32_t>(limit.count())};
    auto answer = co_await channel_->call(std::move(request), limit + std::chrono::minutes(1), std::move(fds));
    if (!answer) co_return fail(answer.error());
    auto reply = wire::decode<wire::PackReply>(answer->payload);
    if (!reply) co_return fail(reply.error());
    co_return PackTotals{reply->entries, reply->bytes, reply->skipped};
  }
  Task<Result<void>> publish(std::string from, std::string to, uid_t owner) override {
    return done(wire::Publish{std::move(from), std::move(to), owner});
  }
  Task<Result<void>> seal(std::string path, uid_t uid) override {
    return done(wire::Seal{std::move(path), uid}, kTreeTime);
  }
  Task<Result<void>> remove_tree(std::string path, uid_t uid) override {
    return done(wire::RemoveTree{std::move(path), uid}, kTreeTime);
  }
  Task<Result<void>> write_file(std::string path, std::string content) override {
    return done(wire::WriteFile{std::move(path), {std::move(content)}});
  }
  Task<Result<std::string>> read_file(std::string path, std::size_t limit) override {
    wire::ReadFile request{std::move(path), static_cast<std::uint32_t>(std::min(limit, wire::kMaxBlob))};
    auto reply = co_await ask<wire::ReadFileReply>(std::move(request), kRequestTime);
    if (!reply) co_return fail(reply.error());
    co_return std::move(reply->content.bytes);
  }
  Task<Result<std::vector<std::string>>> list_directory(std::string path) override {
    auto reply = co_await ask<wire::ListDirectoryReply>(wire::ListDirectory{std::move(path)}, kRequestTime);
    if (!reply) co_return fail(reply.error());
    co_return std::move(reply->names);
  }
  Task<Result<void>> shutdown() override { return done(wire::Shutdown{}); }

 private:
  template <class Reply, class Message>
  Task<Result<Reply>> ask(Message message, milliseconds timeout) {
    auto answer = co_await channel_->call(std::move(message), timeout);
    if (!answer) co_return fail(answer.error());
    co_return wire::decode<Reply>(answer->payload);
  }
  template <class Message>
  Task<Result<void>> done(Message message, milliseconds timeout = kRequestTime) {
    auto reply = co_await ask<wire::Done>(std::move(message), timeout);
    if (!reply) co_return fail(reply.error());
    co_return Result<void>{};
  }

  std::shared_ptr<Channel> channel_;
  SupervisorInfo info_;
};

}  // namespace

Task<Result<std::unique_ptr<Supervisor>>> Supervisor::connect(asio::any_io_executor executor, std::string socket_path,
                                                              milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  auto pause = milliseconds(2);
  while (true) {
    auto socket = connect_unix(socket_path);
    if (socket) {
      auto channel = std::make_shared<Channel>(executor, std::move(*socket));
      channel->start();
      const auto left = std::chrono::duration_cast<milliseconds>(deadline - std::chrono::steady_clock::now());
      auto answer = co_await channel->call(wire::Hello{}, std::max(left, milliseconds(1)));
      if (!answer) {
        channel->close();
        co_return fail(answer.error().with_context(fmt::format("control socket '{}'", socket_path)));
      }
      auto reply = wire::decode<wire::HelloReply>(answer->payload);
      if (!reply) {
        channel->close();
        co_return fail(reply.error());
      }
      SupervisorInfo info{reply->version, reply->landlock_abi, reply->seccomp, reply->boot_token,
                          printable(reply->kernel, 64)};
      co_return std::make_unique<WireSupervisor>(std::move(channel), std::move(info));
    }
    // Not there yet, or left over from a sandbox that is gone.
    const bool may_come = socket.error().code() == Code::kNotFound || socket.error().code() == Code::kUnavailable;
    if (!may_come || std::chrono::steady_clock::now() + pause >= deadline) {
      co_return fail(may_come ? Code::kTimeout : socket.error().code(),
                     fmt::format("the sandbox's supervisor cannot be reached within {}: {}",
                                 human_milliseconds(static_cast<double>(timeout.count())), socket.error().message()));
    }
    asio::steady_timer timer(executor, pause);
    boost::system::error_code ended;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ended));
    if (ended) co_return fail(Code::kCancelled, "connecting to the sandbox's supervisor was cancelled");
    pause = std::min(pause * 2, milliseconds(50));
  }
}

}  // namespace mcpbox::box
