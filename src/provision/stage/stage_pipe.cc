#include "provision/stage/stage_pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <memory>
#include <optional>
#include <utility>

#include "base/errno_error.h"
#include "net/wait.h"

namespace mcpbox::provision {

using workspace::StageReport;

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
