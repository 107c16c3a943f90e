#include "provision/stage/stage_pipe.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <memory>
#include <optional>
#include <utility>

#include "base/digest.h"
#include "base/errno_error.h"
#include "base/text.h"
#include "net/wait.h"

namespace mcpbox::provision {

using workspace::StageReport;

Result<std::string> send_and_digest(box::StageWriter& writer, const std::string& path, std::uint64_t size,
                                    bool executable, int fd, std::string_view shown) {
  Sha256 content;
  const box::StageWriter::Read read = [&](char* buffer, std::size_t capacity) -> Result<std::size_t> {
    for (;;) {
      const ssize_t got = ::read(fd, buffer, capacity);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail(errno_error(errno, fmt::format("read '{}'", printable(shown))));
      content.update({buffer, static_cast<std::size_t>(got)});
      return static_cast<std::size_t>(got);
    }
  };
  if (auto written = writer.file(path, size, executable, read); !written) return fail(std::move(written).error());
  return content.hex();
}

Result<void> DigestingSink::file(std::string_view path, std::uint64_t size, bool executable, int fd) {
  auto content = send_and_digest(writer_, prefix_ + std::string(path), size, executable, fd, path);
  if (!content) return fail(std::move(content).error());
  digest_.file(path, executable, *content);
  return {};
}

Task<Result<StageReport>> stream_into(boost::asio::thread_pool& pool, box::Supervisor& supervisor,
                                      box::Supervisor::UnpackRequest request, Fill fill) {
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
  const auto wait = std::make_shared<box::PipeWait>(request.timeout);
  const box::PipeWaitGuard guard(*wait);
  boost::asio::post(pool, [job, executor, wait, fill = std::move(fill), out = std::move(write_end)]() mutable {
    box::StageWriter writer(std::move(out), std::move(wait));
    auto report = fill(writer);
    if (report) {
      if (auto finished = writer.finish(); !finished) report = fail(std::move(finished).error());
    }
    boost::asio::post(executor, [job, report = std::move(report)]() mutable {
      job->report = std::move(report);
      job->done.notify();
    });
  });
  auto unpacked = co_await supervisor.unpack(std::move(request), std::move(read_end));
  wait->stop();
  while (!job->report) co_await job->done.wait();
  Result<StageReport>& report = *job->report;
  // A refusal of the walk is the cause; the unpacker then only saw a stream that broke off. And the other way round.
  if (!report && report.error().code() != Code::kUnavailable) co_return std::move(report);
  if (!unpacked) co_return fail(std::move(unpacked).error());
  co_return std::move(report);
}

}  // namespace mcpbox::provision
