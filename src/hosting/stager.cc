#include "hosting/stager.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "base/digest.h"
#include "base/errno_error.h"
#include "box/stage_writer.h"
#include "net/wait.h"

namespace mcpbox::hosting {
namespace {

using workspace::StageReport;

// workspace's walk and box's stream do not know each other; they meet here. `prefix` is empty or ends with '/'.
class StreamSink final : public workspace::StageSink {
 public:
  StreamSink(box::StageWriter& writer, std::string prefix) : writer_(writer), prefix_(std::move(prefix)) {}
  Result<void> directory(std::string_view path) override { return writer_.directory(prefix_ + std::string(path)); }
  Result<void> file(std::string_view path, std::uint64_t size, bool executable, int fd) override {
    return writer_.file(prefix_ + std::string(path), size, executable, fd);
  }
  Result<void> symlink(std::string_view path, std::string_view target) override {
    return writer_.symlink(prefix_ + std::string(path), target);
  }

 private:
  box::StageWriter& writer_;
  std::string prefix_;
};

using Fill = std::function<Result<StageReport>(box::StageWriter&)>;

// Runs `fill` on the pool while PID 1 unpacks what it writes. The job has copies of all it needs, so that it can be
// abandoned: when this coroutine is cancelled the pipe breaks, and the job ends by that.
Task<Result<StageReport>> stream_into(boost::asio::thread_pool& pool, box::Supervisor& supervisor, std::string destination, bool existing,
                                      StageTarget target, Fill fill) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) co_return fail(errno_error(errno, "pipe for staging"));
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  ::fcntl(write_end.get(), F_SETPIPE_SZ, 1 << 20);  // fewer switches between the two; the default will do too

  struct Job {
    std::optional<Result<StageReport>> report;
    net::Signal done;
    explicit Job(boost::asio::any_io_executor executor) : done(std::move(executor)) {}
  };
  const auto executor = co_await boost::asio::this_coro::executor;
  const auto job = std::make_shared<Job>(executor);
  boost::asio::post(pool, [job, executor, fill = std::move(fill), out = std::move(write_end)]() mutable {
    box::StageWriter writer(std::move(out));
    auto report = fill(writer);
    if (report) {
      if (auto finished = writer.finish(); !finished) report = fail(std::move(finished).error());
    }
    boost::asio::post(executor, [job, report = std::move(report)]() mutable {
      job->report = std::move(report);
      job->done.notify();
    });
  });
  auto unpacked =
      co_await supervisor.unpack(std::move(destination), target.uid, target.gid, existing, std::move(read_end), target.timeout);
  while (!job->report) co_await job->done.wait();
  Result<StageReport>& report = *job->report;
  // A refusal of the walk is the cause; the unpacker then only saw a stream that broke off. And the other way round.
  if (!report && report.error().code() != Code::kUnavailable) co_return std::move(report);
  if (!unpacked) co_return fail(std::move(unpacked).error());
  co_return std::move(report);
}

constexpr int kAttempts = 3;

// The inputs and sources of an installation that lie in one directory, with their paths relative to it; "" is the directory itself.
struct InstallShare {
  std::vector<workspace::InstallInput> inputs;
  std::vector<workspace::InstallSource> sources;
};

InstallShare share_of(const workspace::InstallPlan& plan, const std::string& directory) {
  const std::string below = directory + "/";
  InstallShare share;
  for (const workspace::InstallInput& input : plan.inputs) {
    if (input.path.starts_with(below)) share.inputs.push_back({input.path.substr(below.size()), input.content});
  }
  for (const workspace::InstallSource& source : plan.sources) {
    if (source.path == directory) share.sources.push_back({source.host, ""});
    if (source.path.starts_with(below)) share.sources.push_back({source.host, source.path.substr(below.size())});
  }
  return share;
}

Result<StageReport> fill_install_share(const InstallShare& share, const StagePolicy& policy, box::StageWriter& writer) {
  std::set<std::string> made;
  // The directories above `path`, each once.
  const auto make_parents = [&](const std::string& path) -> Result<void> {
    for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      if (!made.insert(path.substr(0, slash)).second) continue;
      if (auto done = writer.directory(path.substr(0, slash)); !done) return done;
    }
    return {};
  };
  StageReport total;
  // Sources first: an input that the planner wrote anew replaces nothing, because walks leave lock files of other places alone.
  for (const workspace::InstallSource& source : share.sources) {
    const std::string prefix = source.path.empty() ? "" : source.path + "/";
    if (auto done = make_parents(prefix); !done) return fail(std::move(done).error());
    StreamSink sink(writer, prefix);
    auto report = workspace::walk(source.host, policy.allowed_roots, {}, sink, nullptr, policy.rules);
    if (!report) return report;
    total.entries += report->entries;
    total.bytes += report->bytes;
  }
  for (const workspace::InstallInput& input : share.inputs) {
    if (auto done = make_parents(input.path); !done) return fail(std::move(done).error());
    std::size_t sent = 0;
    const box::StageWriter::Read read = [&](char* buffer, std::size_t capacity) -> Result<std::size_t> {
      const std::size_t size = input.content.copy(buffer, capacity, sent);
      sent += size;
      return size;
    };
    if (auto done = writer.file(input.path, input.content.size(), false, read); !done) return fail(std::move(done).error());
  }
  return total;
}

}  // namespace

Task<Result<StageReport>> stage_root(boost::asio::thread_pool& pool, box::Supervisor& supervisor, workspace::Root root, StagePolicy policy,
                                     StageTarget target, bool swap) {
  const Fill fill = [root, policy](box::StageWriter& writer) -> Result<StageReport> {
    StreamSink sink(writer, "");
    auto report = workspace::walk(root.host, policy.allowed_roots, {}, sink, nullptr, policy.rules);
    if (!report) return report;
    for (const workspace::Root::Link& link : root.links) {
      if (auto added = writer.symlink(link.path, link.target); !added) return fail(std::move(added).error());
    }
    return report;
  };
  for (int attempt = 1;; ++attempt) {
    std::string destination = swap ? fmt::format("{}.{}", root.mount, random_hex(4)) : root.mount;
    auto report = co_await stream_into(pool, supervisor, destination, !swap, target, fill);
    if (!report && report.error().code() == Code::kAborted && attempt < kAttempts && swap) continue;
    if (!report || !swap) co_return report;
    auto published = co_await supervisor.publish(destination, root.mount, target.uid);
    if (!published) co_return fail(std::move(published).error());
    co_return report;
  }
}

Task<Result<StageReport>> stage_install_inputs(boost::asio::thread_pool& pool, box::Supervisor& supervisor, workspace::InstallPlan plan,
                                               std::string tree, StagePolicy policy, StageTarget target) {
  std::size_t placed = 0;
  StageReport total;
  for (const char* child : {"/env", "/tmp"}) {
    std::string directory = tree + child;
    InstallShare share = share_of(plan, directory);
    if (share.inputs.empty() && share.sources.empty()) continue;
    placed += share.inputs.size() + share.sources.size();
    const Fill fill = [share = std::move(share), policy](box::StageWriter& writer) { return fill_install_share(share, policy, writer); };
    auto report = co_await stream_into(pool, supervisor, std::move(directory), true, target, fill);
    if (!report) co_return report;
    total.entries += report->entries;
    total.bytes += report->bytes;
  }
  if (placed != plan.inputs.size() + plan.sources.size()) {
    co_return fail(Code::kInternal, fmt::format("an input of the installation lies neither in {0}/env nor in {0}/tmp", tree));
  }
  co_return total;
}

}  // namespace mcpbox::hosting
