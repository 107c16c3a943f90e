// The MCP session with a server that runs as a process with three pipes: messages on stdin and stdout, its log on
// stderr.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <functional>
#include <string>

#include "base/result.h"
#include "box/process.h"
#include "hosting/session_loop.h"
#include "mcp/client_session.h"
#include "net/task.h"
#include "net/task_group.h"
#include "provision/server_log.h"

namespace mcpbox::hosting {

// As SessionLoop, with the reading of stderr.
class McpDriver {
 public:
  McpDriver(boost::asio::any_io_executor executor, boost::asio::thread_pool& pool, box::ProcessPipes pipes,
            mcp::SessionOptions options, provision::ServerLog& log);

  void start(std::function<void()> on_change);
  Task<void> stop(Error reason);
  void close_stdin() { loop_.close_write(); }

  const mcp::ClientSession& session() const { return loop_.session(); }
  bool output_ended() const { return loop_.output_ended(); }
  // Everything that it wrote was read.
  bool drained() const { return output_ended() && errors_ended_; }

  Task<Result<mcp::CallReply>> call(std::string method, std::string params, std::chrono::milliseconds timeout) {
    return loop_.call(std::move(method), std::move(params), timeout);
  }

 private:
  Task<void> read_errors();

  boost::asio::any_io_executor executor_;
  UniqueFd err_;
  provision::ServerLog& log_;
  SessionLoop loop_;
  std::function<void()> on_change_;
  bool errors_ended_ = false;
  net::TaskGroup tasks_;
};

}  // namespace mcpbox::hosting
