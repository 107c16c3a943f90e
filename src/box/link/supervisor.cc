#include "box/link/supervisor.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "base/text.h"
#include "box/link/exchange.h"
#include "box/link/supervisor_convert.h"
#include "box/link/supervisor_socket.h"
#include "box/link/take_back.h"
#include "box/link/times.h"
#include "box/wire/identify.h"

namespace mcpbox::box {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;

class WireSupervisor final : public Supervisor {
 public:
  WireSupervisor(std::shared_ptr<Exchange> exchange, SupervisorInfo info, milliseconds request_time)
      : request_time_(request_time),
        exchange_(std::move(exchange)),
        take_back_(std::make_shared<TakeBack>(exchange_, request_time)),
        info_(std::move(info)) {}
  ~WireSupervisor() override { exchange_->close(); }

  const SupervisorInfo& info() const override { return info_; }
  void on_exit(ExitHandler handler) override { exchange_->on_exit(std::move(handler)); }
  void on_pressure(PressureHandler handler) override { exchange_->on_pressure(std::move(handler)); }
  void on_lost(LostHandler handler) override { exchange_->on_lost(std::move(handler)); }

  Task<Result<Spawned>> spawn(ProcessSpec spec) override { return start(std::move(spec), {}); }
  Task<Result<Spawned>> spawn_direct(ProcessSpec spec, std::array<int, 3> stdio) override {
    std::vector<UniqueFd> fds;
    for (const int fd : stdio) {
      auto copy = duplicate(fd);
      if (!copy) co_return fail(copy.error());
      fds.push_back(std::move(*copy));
    }
    co_return co_await start(std::move(spec), std::move(fds));
  }
  Task<Result<void>> close_stdin(std::string process_id, bool ending) override {
    return done(wire::CloseStdin{std::move(process_id), ending});
  }
  Task<Result<void>> signal(std::string process_id, int signal_number) override {
    return done(wire::Signal{std::move(process_id), signal_number});
  }
  Task<Result<unsigned>> kill_uid(uid_t uid, int signal_number) override {
    wire::KillUid request{uid, signal_number, static_cast<std::uint32_t>(kKillTime.count())};
    auto reply = co_await ask<wire::KillUidReply>(request, kKillTime + request_time_);
    if (!reply) co_return fail(reply.error());
    co_return reply->alive;
  }
  Task<Result<std::vector<ProcessStatus>>> list() override {
    auto reply = co_await ask<wire::ListReply>(wire::List{}, request_time_);
    if (!reply) co_return fail(reply.error());
    std::vector<ProcessStatus> out;
    for (wire::Listed& process : reply->processes) out.push_back(to_status(std::move(process)));
    co_return out;
  }
  Task<Result<void>> forget(std::string process_id) override { return done(wire::Forget{std::move(process_id)}); }

  Task<Result<void>> prepare(Preparation preparation) override { return done(to_wire(std::move(preparation))); }
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
    auto answer = co_await exchange_->call(std::move(request), limit + std::chrono::minutes(2), std::move(fds));
    if (!answer) co_return fail(std::move(answer).error().error);
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
    auto answer = co_await exchange_->call(std::move(request), limit + std::chrono::minutes(1), std::move(fds));
    if (!answer) co_return fail(std::move(answer).error().error);
    auto reply = wire::decode<wire::PackReply>(answer->payload);
    if (!reply) co_return fail(reply.error());
    co_return PackTotals{reply->entries, reply->bytes, reply->skipped};
  }
  Task<Result<void>> publish(std::string from, std::string to, uid_t owner) override {
    return done(wire::Publish{std::move(from), std::move(to), owner}, kTreeTime);
  }
  Task<Result<void>> seal(std::string path, uid_t uid) override {
    return done(wire::Seal{std::move(path), uid}, kTreeTime);
  }
  Task<Result<void>> remove_tree(std::string path, uid_t uid) override {
    return done(wire::RemoveTree{std::move(path), uid}, kTreeTime);
  }
  Task<Result<std::string>> read_file(std::string path, std::size_t limit) override {
    wire::ReadFile request{std::move(path), static_cast<std::uint32_t>(std::min(limit, wire::kMaxBlob))};
    auto reply = co_await ask<wire::ReadFileReply>(std::move(request), request_time_);
    if (!reply) co_return fail(reply.error());
    co_return std::move(reply->content.bytes);
  }
  Task<Result<std::vector<std::string>>> list_directory(std::string path) override {
    auto seen = co_await look(std::move(path), {}, 0);
    if (!seen) co_return fail(std::move(seen).error());
    co_return std::move(seen->names);
  }
  Task<Result<DirectoryLook>> look(std::string path, std::vector<std::string> files, std::size_t limit) override {
    const std::size_t asked = files.size();
    wire::ListDirectory request{std::move(path), std::move(files),
                                static_cast<std::uint32_t>(std::min(limit, wire::kMaxBlob))};
    auto reply = co_await ask<wire::ListDirectoryReply>(std::move(request), request_time_);
    if (!reply) co_return fail(reply.error());
    if (reply->contents.size() != asked)
      co_return fail(Code::kDataLoss, "supervisor link: an answer has another number of files than was asked for");
    DirectoryLook seen{std::move(reply->names), {}};
    for (std::optional<wire::Blob>& content : reply->contents) {
      seen.contents.push_back(content ? std::optional(std::move(content->bytes)) : std::nullopt);
    }
    co_return seen;
  }
  Task<Result<std::vector<FoundFile>>> identify(std::vector<std::string> paths) override {
    const std::size_t asked = paths.size();
    auto reply = co_await ask<wire::IdentifyReply>(wire::Identify{std::move(paths)}, request_time_);
    if (!reply) co_return fail(reply.error());
    if (reply->found.size() != asked)
      co_return fail(Code::kDataLoss,
                     "supervisor link: an answer is about another number of places than was asked for");
    std::vector<FoundFile> found;
    for (const wire::Identity& each : reply->found)
      found.push_back({{static_cast<dev_t>(each.device), static_cast<ino_t>(each.inode)}, each.error});
    co_return found;
  }
  Task<Result<void>> take_group(GroupOfServers group) override {
    std::vector<UniqueFd> fds;
    fds.push_back(std::move(group.directory));
    if (group.idle) fds.push_back(std::move(group.idle));
    auto answer = co_await exchange_->call(wire::TakeGroup{group.processors}, request_time_, std::move(fds));
    if (!answer) co_return fail(std::move(answer).error().error);
    auto reply = wire::decode<wire::Done>(answer->payload);
    if (!reply) co_return fail(reply.error());
    co_return Result<void>{};
  }
  Task<Result<void>> shutdown() override { return done(wire::Shutdown{}); }

 private:
  // What came with the answer, if that is what belongs to it.
  static std::optional<Spawned> spawned_of(pid_t pid, std::vector<UniqueFd> fds, bool pipes, unsigned ways_in) {
    const std::size_t first_way = pipes ? 3 : 0;
    const std::size_t one_family = first_way + ways_in;
    if (fds.size() != one_family && fds.size() != one_family + ways_in) return std::nullopt;
    Spawned out;
    out.pid = pid;
    if (pipes) out.pipes = {std::move(fds[0]), std::move(fds[1]), std::move(fds[2])};
    for (std::size_t i = first_way; i < fds.size(); ++i) out.ways_in.push_back(std::move(fds[i]));
    return out;
  }
  Task<Result<Spawned>> start(ProcessSpec spec, std::vector<UniqueFd> stdio) {
    const std::string id = spec.id;
    const uid_t uid = spec.uid;
    const bool pipes = stdio.empty();
    const unsigned ways_in = spec.ways_in;
    co_await take_back_->wait(id, uid);
    auto answer = co_await exchange_->call(to_wire(std::move(spec)), request_time_, std::move(stdio));
    if (!answer && answer.error().refused) co_return fail(std::move(answer).error().error);
    Error error(Code::kDataLoss, "supervisor link: a new process came without its descriptors");
    if (answer) {
      auto reply = wire::decode<wire::SpawnReply>(answer->payload);
      if (reply) {
        if (auto spawned = spawned_of(reply->pid, std::move(answer->fds), pipes, ways_in))
          co_return std::move(*spawned);
      } else {
        error = std::move(reply).error();
      }
    } else {
      error = std::move(answer).error().error;
    }
    take_back_->begin(id, uid);
    // A cancelled coroutine cannot wait; the next start does.
    if (error.code() != Code::kCancelled) co_await take_back_->wait(id, uid);
    co_return fail(std::move(error));
  }
  template <class Reply, class Message>
  Task<Result<Reply>> ask(Message message, milliseconds timeout) {
    auto answer = co_await exchange_->call(std::move(message), timeout);
    if (!answer) co_return fail(std::move(answer).error().error);
    co_return wire::decode<Reply>(answer->payload);
  }
  template <class Message>
  Task<Result<void>> done(Message message) {
    co_return co_await done(std::move(message), request_time_);
  }
  template <class Message>
  Task<Result<void>> done(Message message, milliseconds timeout) {
    auto reply = co_await ask<wire::Done>(std::move(message), timeout);
    if (!reply) co_return fail(reply.error());
    co_return Result<void>{};
  }

  const milliseconds request_time_;
  std::shared_ptr<Exchange> exchange_;
  std::shared_ptr<TakeBack> take_back_;
  SupervisorInfo info_;
};

}  // namespace

Task<Result<std::unique_ptr<Supervisor>>> Supervisor::connect(asio::any_io_executor executor, std::string socket_path,
                                                              milliseconds timeout, milliseconds request_time) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  auto pause = milliseconds(2);
  while (true) {
    auto socket = connect_unix(socket_path);
    if (socket) {
      auto exchange = std::make_shared<Exchange>(executor, std::move(*socket));
      exchange->start();
      const auto left = std::chrono::duration_cast<milliseconds>(deadline - std::chrono::steady_clock::now());
      auto answer = co_await exchange->call(wire::Hello{}, std::max(left, milliseconds(1)));
      if (!answer) {
        exchange->close();
        co_return fail(std::move(answer).error().error.with_context(fmt::format("control socket '{}'", socket_path)));
      }
      auto reply = wire::decode<wire::HelloReply>(answer->payload);
      if (!reply) {
        exchange->close();
        co_return fail(reply.error());
      }
      SupervisorInfo info{reply->version, reply->landlock_abi, reply->seccomp, reply->boot_token,
                          printable(reply->kernel, 64)};
      co_return std::make_unique<WireSupervisor>(std::move(exchange), std::move(info), request_time);
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
