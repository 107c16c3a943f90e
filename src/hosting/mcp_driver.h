// Drives one mcp::ClientSession over the pipes of one process.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "box/process.h"
#include "mcp/client_session.h"
#include "mcp/line_framer.h"
#include "net/task.h"
#include "net/task_group.h"
#include "net/wait.h"
#include "provision/server_log.h"

namespace mcpbox::hosting {

// Lives on one executor. start() spawns its readers and its writer; stop() must be awaited before it is destroyed.
class McpDriver {
 public:
  // A line of stdout beyond this ends the session with an error that names the limit.
  static constexpr std::size_t kMaxLine = 16u << 20;

  McpDriver(boost::asio::any_io_executor executor, box::ProcessPipes pipes, mcp::SessionOptions options,
            provision::ServerLog& log);
  ~McpDriver();

  // `on_change` is called after everything that came in; it must not destroy the driver.
  void start(std::function<void()> on_change);
  // Every pending call fails with `reason`. The pipes close: the server sees end of input.
  Task<void> stop(Error reason);
  // Closes the write end of stdin at once; a message that is being written is cut.
  void close_stdin();

  const mcp::ClientSession& session() const { return session_; }
  // End of its stdout: there will be no answer any more, also when the process lives on.
  bool output_ended() const { return output_ended_; }
  // Everything that it wrote was read.
  bool drained() const { return output_ended_ && errors_ended_; }

  // Returns when the server answered, the time was up, or the session ended. Cancelling the coroutine cancels the
  // request.
  Task<Result<mcp::CallReply>> call(std::string method, std::string params, std::chrono::milliseconds timeout);
  void refresh_tools();

 private:
  Task<void> read_stdout();
  Task<void> read_stderr();
  Task<void> write_stdin();
  Task<void> run_timers();
  void pump();  // after every input: hand out completions, output and log lines

  boost::asio::any_io_executor executor_;
  boost::asio::posix::stream_descriptor in_;
  boost::asio::posix::stream_descriptor out_;
  UniqueFd err_;
  mcp::ClientSession session_;
  mcp::LineFramer framer_{kMaxLine};
  provision::ServerLog& log_;
  net::Signal changed_;
  net::Signal writable_;
  net::Signal rearmed_;
  std::string pending_;  // to be written to stdin
  std::map<mcp::CallId, Result<mcp::CallReply>> finished_;
  std::function<void()> on_change_;
  unsigned callers_ = 0;
  bool output_ended_ = false;
  bool errors_ended_ = false;
  bool input_broken_ = false;
  net::TaskGroup tasks_;
};

}  // namespace mcpbox::hosting
