// A server that runs: a connection, the MCP session over it, and the loop that drives both.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "hosting/connector.h"
#include "hosting/fate.h"
#include "hosting/session_loop.h"
#include "json/raw_object.h"
#include "mcp/client_session.h"
#include "net/task.h"
#include "net/task_group.h"
#include "provision/server_log.h"

namespace mcpbox::hosting {

struct InstanceOptions {
  mcp::SessionOptions session;
  Patience patience;
  Grace grace;
  std::uint64_t log_start = 0;  // what stands in the log up to here was not written by this instance
};

// Lives on one executor; `channel` is the connection's. Between start() and the destructor end() is awaited.
class Instance {
 public:
  Instance(boost::asio::any_io_executor executor, boost::asio::thread_pool& pool,
           std::unique_ptr<Connection> connection, std::unique_ptr<channel::Channel> channel, InstanceOptions options,
           provision::ServerLog& log);
  ~Instance();

  // Begins the handshake. `on_news` is called when ready() or look() may say something else than before; it must not
  // end the instance.
  void start(std::function<void()> on_news);
  // It answered `initialize` and named its tools: calls may be made.
  bool ready() const;
  // Why it is broken, or nothing while that is not known. wake() says when to look again without news.
  std::optional<Error> look(std::chrono::steady_clock::time_point now);
  std::optional<std::chrono::steady_clock::time_point> wake() const { return doom_.wake(); }

  const mcp::ClientSession& session() const { return loop_.session(); }
  ConnectionView view() const { return connection_->view(); }

  // SessionLoop::call. The instance must live until it returns; InstancePool's leases see to that.
  Task<Result<Answer>> call(std::string method, json::RawObject params, std::chrono::milliseconds timeout) {
    return loop_.call(std::move(method), std::move(params), timeout);
  }

  // Ends the server. Every call in flight fails with `reason`: at once when it is `broken`, else when the server had
  // the time to answer that the graces give it. Returns when nothing of it is left. Not to be cancelled.
  Task<void> end(Error reason, bool broken);

 private:
  Task<void> watch_connection();
  Error error_of(Fate fate) const;

  InstanceOptions options_;
  provision::ServerLog& log_;
  std::unique_ptr<Connection> connection_;
  SessionLoop loop_;
  Doom doom_;
  std::function<void()> on_news_;
  net::TaskGroup tasks_;
};

}  // namespace mcpbox::hosting
