#include "hosting/stager.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include <memory>
#include <optional>

#include "base/digest.h"
#include "base/errno_error.h"
#include "box/stage_writer.h"
#include "net/wait.h"

namespace mcpbox::hosting {
namespace {

// workspace's walk and box's stream do not know each other; they meet here.
class StreamSink final : public workspace::StageSink {
 public:
  explicit StreamSink(box::StageWriter& writer) : writer_(writer) {}
  Result<void> directory(std::string_view path) override { return writer_.directory(path); }
  Result<void> file(std::string_view path, std::uint64_t size, bool executable, int fd) override {
    return writer_.file(path, size, executable, fd);
  }
  Result<void> symlink(std::string_view path, std::string_view target) override { return writer_.symlink(path, target); }

 private:
  box::StageWriter& writer_;
};

Result<workspace::StageReport> walk_into(UniqueFd stream, const workspace::Root& root,
                                         const std::vector<std::string>& allowed_roots) {
  box::StageWriter writer(std::move(stream));
  StreamSink sink(writer);
  auto report = workspace::walk(root.host, allowed_roots, workspace::StageLimits{}, sink);
  if (!report) return report;
  for (const workspace::Root::Link& link : root.links) {
    if (auto added = writer.symlink(link.path, link.target); !added) return fail(std::move(added).error());
  }
  if (auto finished = writer.finish(); !finished) return fail(std::move(finished).error());
  return report;
}

}  // namespace

Task<Result<workspace::StageReport>> stage_root(boost::asio::thread_pool& pool, box::Supervisor& supervisor,
                                                const workspace::Root& root, std::vector<std::string> allowed_roots,
                                                StageTarget target, bool swap) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) co_return fail(errno_error(errno, "pipe for staging"));
  UniqueFd read_end(ends[0]);
  const std::string destination = swap ? fmt::format("{}.{}", root.mount, random_hex(4)) : root.mount;

  // Both ends work at the same time: the walk fills the pipe from the pool, PID 1 empties it. The walk has copies of all it needs, so
  // that it can be abandoned: when this coroutine is cancelled the pipe breaks, and the walk ends by that.
  const auto executor = co_await boost::asio::this_coro::executor;
  struct Walk {
    std::optional<Result<workspace::StageReport>> report;
    net::Signal done;
    explicit Walk(boost::asio::any_io_executor e) : done(std::move(e)) {}
  };
  const auto walk = std::make_shared<Walk>(executor);
  boost::asio::post(pool, [walk, executor, root, allowed_roots, stream = UniqueFd(ends[1])]() mutable {
    auto report = walk_into(std::move(stream), root, allowed_roots);
    boost::asio::post(executor, [walk, report = std::move(report)]() mutable {
      walk->report = std::move(report);
      walk->done.notify();
    });
  });
  auto unpacked = co_await supervisor.unpack(destination, target.uid, target.gid, !swap, std::move(read_end), target.timeout);
  while (!walk->report) co_await walk->done.wait();
  auto& walked = *walk->report;

  // A refusal of the walk is the cause; the unpacker then only saw a stream that broke off.
  const bool pipe_broke = !walked && walked.error().code() == Code::kUnavailable;
  if (!walked && !pipe_broke) co_return fail(std::move(walked).error());
  if (!unpacked) co_return fail(std::move(unpacked).error());
  if (!walked) co_return fail(std::move(walked).error());
  if (swap) {
    auto published = co_await supervisor.publish(destination, root.mount, target.uid);
    if (!published) co_return fail(std::move(published).error());
  }
  co_return std::move(walked);
}

}  // namespace mcpbox::hosting
