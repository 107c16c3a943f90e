// One MCP server as its users see it: a name, its instances, a log. Lives on one executor.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/settings.h"
#include "hosting/backend.h"
#include "hosting/instance_pool.h"
#include "hosting/server_view.h"
#include "json/raw_object.h"
#include "mcp/catalog.h"
#include "net/task.h"
#include "net/wait.h"

namespace mcpbox::hosting {

class Server {
 public:
  Server(boost::asio::any_io_executor executor, boost::asio::thread_pool& pool, config::ServerSettings settings,
         ServerParts parts, ServerTiming timing = {});
  ~Server();

  // The lives of its instances; ends after request_shut_down(), with nothing of the server left. Not to be cancelled.
  Task<void> run() { return instances_.run(); }

  // At any moment, also before run(). They return at once; settle() waits.
  void request_stop() { instances_.tell(Lifecycle::StopAsked{}); }
  void request_restart(bool fresh) { instances_.tell(Lifecycle::RestartAsked{fresh}); }
  void request_shut_down() { instances_.tell(Lifecycle::ShutDownAsked{}); }
  // Returns when the server is connected, or failed for good, or was stopped, or the time is up.
  Task<void> settle(std::chrono::steady_clock::time_point deadline);
  // Connected, failed for good or stopped, as the newest request wants it.
  bool settled() const { return instances_.settled(); }
  std::chrono::seconds startup_timeout() const { return context_.settings.box.startup_timeout; }

  // kFailedPrecondition when it is not connected (the message says why), kUnavailable with how it died when it dies
  // meanwhile; never executed a second time by itself.
  Task<Result<Answer>> call_tool(std::string tool, json::RawObject arguments);
  // Catalog::text() of a list that its session fetches (SessionOptions::catalogs); kUnsupported for another one.
  Result<std::shared_ptr<const std::string>> list_text(const mcp::CatalogKind& kind) const;

  // Copies::pull. Works in every state.
  Task<Result<std::vector<provision::PullOutcome>>> pull(provision::PullOptions options);
  // One is under way: what a fresh start drops is being read.
  bool pulling() const { return pulls_ > 0; }

  ServerView view() const;
  provision::ServerLog& log() { return *context_.parts.log; }
  // Notified when the view's state, phase or error may have changed.
  net::Signal& changed() { return context_.changed; }
  const std::string& name() const { return context_.settings.name; }

 private:
  InstanceContext context_;
  InstancePool instances_;
  unsigned pulls_ = 0;
};

}  // namespace mcpbox::hosting
