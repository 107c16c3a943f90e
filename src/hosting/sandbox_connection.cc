#include "hosting/sandbox_connection.h"

#include <fmt/format.h>

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <utility>
#include <variant>

#include "channel/pipe_channel.h"
#include "hosting/stderr_reader.h"

namespace mcpbox::hosting {

SandboxConnection::SandboxConnection(boost::asio::any_io_executor executor,
                                     std::unique_ptr<provision::SandboxedProcess> process, provision::ServerLog& log)
    : executor_(executor),
      news_(std::make_shared<News>(executor)),
      process_(std::move(process)),
      pipes_(process_->take_pipes()),
      tasks_(executor, "stderr") {
  tasks_.spawn("stderr", read_errors(executor, std::move(pipes_.err), log, news_));
  process_->on_change([this] { look(); });
  look();
}

Result<std::unique_ptr<channel::Channel>> SandboxConnection::take_channel() {
  try {
    return std::make_unique<channel::PipeChannel>(executor_, std::move(pipes_.in), std::move(pipes_.out));
  } catch (const boost::system::system_error& error) {  // epoll_ctl(2) has limits of its own
    return fail(Code::kResourceExhausted, "cannot watch the server's pipes: " + error.code().message());
  }
}

Task<void> SandboxConnection::read_errors(boost::asio::any_io_executor executor, UniqueFd errors,
                                          provision::ServerLog& log, std::shared_ptr<News> news) {
  try {
    co_await read_stderr(std::move(executor), std::move(errors), log);
  } catch (const boost::system::system_error& error) {
    if (error.code() == boost::asio::error::operation_aborted) throw;
    log.line(provision::LogSource::kMcpbox, "its stderr cannot be read: " + error.code().message());
  }
  news->errors_ended = true;
  news->changed.notify();
}

void SandboxConnection::look() {
  if (end_ || !process_->ended()) return;
  if (const auto* lost = std::get_if<provision::SandboxLost>(&*process_->ended())) {
    end_ = End{End::Kind::kSandboxLost, lost->how};
  } else {
    const auto& exit = std::get<box::ProcessExit>(*process_->ended());
    std::string how = process_->sentence(exit);
    const bool remains = exit.limit.which == box::LimitKind::kDisk || exit.limit.which == box::LimitKind::kFiles;
    if (remains) how += fmt::format("; `mcpbox restart --fresh {}` drops all that it wrote", process_->server());
    end_ = End{End::Kind::kProcessExit, std::move(how), remains};
  }
  news_->changed.notify();
}

Task<void> SandboxConnection::stop(Grace grace) {
  co_await process_->stop({grace.after_end_of_input, grace.after_sigterm});
  co_await tasks_.stop();
}

ConnectionView SandboxConnection::view() const {
  ConnectionView view;
  view.sandbox = process_->sandbox_name();
  view.pid = process_->pid();
  view.uid = process_->uid();
  if (const auto& environment = process_->environment()) {
    view.environment = environment->hash;
    view.packages = provision::packages_in_short(*environment);
  }
  return view;
}

}  // namespace mcpbox::hosting
