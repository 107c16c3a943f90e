#include "hosting/mcp_driver.h"

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <utility>
#include <vector>

#include "base/text.h"
#include "net/read_all.h"

namespace mcpbox::hosting {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

McpDriver::McpDriver(boost::asio::any_io_executor executor, box::ProcessPipes pipes, mcp::SessionOptions options,
                     provision::ServerLog& log)
    : executor_(executor),
      in_(executor, pipes.in.release()),
      out_(executor, pipes.out.release()),
      err_(std::move(pipes.err)),
      session_(std::move(options)),
      log_(log),
      changed_(executor),
      writable_(executor),
      rearmed_(executor),
      tasks_(executor, "mcp") {}

McpDriver::~McpDriver() = default;

void McpDriver::start(std::function<void()> on_change) {
  on_change_ = std::move(on_change);
  session_.start(Clock::now());
  tasks_.spawn("stdout", read_stdout());
  tasks_.spawn("stdin", write_stdin());
  tasks_.spawn("stderr", read_stderr());
  tasks_.spawn("timers", run_timers());
  pump();
}

Task<void> McpDriver::stop(Error reason) {
  session_.on_closed(reason);
  pump();
  close_stdin();
  co_await tasks_.stop();
  while (callers_ > 0) co_await changed_.wait();
  log_.stderr_end();
}

void McpDriver::close_stdin() {
  boost::system::error_code ignored;
  in_.close(ignored);
  writable_.notify();
}

void McpDriver::refresh_tools() {
  session_.refresh_tools(Clock::now());
  pump();
}

Task<Result<mcp::CallReply>> McpDriver::call(std::string method, std::string params,
                                             std::chrono::milliseconds timeout) {
  const mcp::CallId id = session_.request(method, params, timeout, Clock::now());
  pump();
  // Gives the request up when the caller is cancelled while it waits.
  struct Guard {
    McpDriver& driver;
    mcp::CallId id;
    bool done = false;
    ~Guard() {
      --driver.callers_;
      if (!done) {
        driver.session_.cancel(id, "the client went away");
        driver.pump();
        driver.finished_.erase(id);
      }
      driver.changed_.notify();
    }
  } guard{*this, id};
  ++callers_;
  for (;;) {
    const auto found = finished_.find(id);
    if (found != finished_.end()) {
      guard.done = true;
      Result<mcp::CallReply> reply = std::move(found->second);
      finished_.erase(found);
      co_return reply;
    }
    co_await changed_.wait();
  }
}

void McpDriver::pump() {
  for (std::string& line : session_.take_output()) {
    if (!input_broken_) pending_ += line;
  }
  for (mcp::Completion& completion : session_.take_completions())
    finished_.insert_or_assign(completion.id, std::move(completion.reply));
  for (const std::string& line : session_.take_log()) log_.line(provision::LogSource::kStdout, line);
  if (!pending_.empty()) writable_.notify();
  rearmed_.notify();
  changed_.notify();
  if (on_change_) on_change_();
}

Task<void> McpDriver::read_stdout() {
  std::vector<char> buffer(64u << 10);
  for (;;) {
    auto [error, size] =
        co_await out_.async_read_some(boost::asio::buffer(buffer), boost::asio::as_tuple(boost::asio::use_awaitable));
    if (size > 0) {
      framer_.feed({buffer.data(), size});
      for (auto item = framer_.next(); item.item != mcp::LineFramer::Item::kNone; item = framer_.next()) {
        if (item.item == mcp::LineFramer::Item::kTooLong) {
          session_.on_too_long(item.line, item.tail, item.length, Clock::now());
          continue;
        }
        session_.on_line(item.line, Clock::now());
      }
      pump();
    }
    if (error) break;
  }
  output_ended_ = true;
  if (const std::string_view rest = framer_.rest(); !rest.empty()) log_.line(provision::LogSource::kStdout, rest);
  pump();
}

Task<void> McpDriver::read_stderr() {
  co_await net::read_all(executor_, std::move(err_), [this](std::string_view bytes) { log_.stderr_bytes(bytes); });
  log_.stderr_end();
  errors_ended_ = true;
  pump();
}

Task<void> McpDriver::write_stdin() {
  std::string writing;
  for (;;) {
    while (pending_.empty() && in_.is_open()) co_await writable_.wait();
    if (!in_.is_open()) co_return;
    writing.clear();
    writing.swap(pending_);
    auto [error, size] = co_await boost::asio::async_write(in_, boost::asio::buffer(writing),
                                                           boost::asio::as_tuple(boost::asio::use_awaitable));
    if (error) {
      // The process is going away; its exit says how.
      input_broken_ = true;
      pending_.clear();
      co_return;
    }
  }
}

Task<void> McpDriver::run_timers() {
  for (;;) {
    const auto deadline = session_.next_deadline();
    if (!deadline) {
      co_await rearmed_.wait();
      continue;
    }
    const bool rearmed = co_await rearmed_.wait_until(*deadline);
    if (!rearmed) {
      session_.on_time(Clock::now());
      pump();
    }
  }
}

}  // namespace mcpbox::hosting
