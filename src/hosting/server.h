// One MCP server as its users see it: a name, a life cycle, running instances, a log.
//
// Lifecycle decides, run() carries out: it starts through the connector, keeps the instance in the pool, and tells the
// life cycle what became of it. Lives on one executor.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/settings.h"
#include "hosting/backend.h"
#include "hosting/instance_pool.h"
#include "hosting/lifecycle.h"
#include "hosting/server_view.h"
#include "json/raw_object.h"
#include "net/task.h"
#include "net/task_group.h"
#include "net/wait.h"

namespace mcpbox::hosting {

// Other than these in tests only.
struct ServerTiming {
  Patience patience;
  Grace grace;
  std::chrono::milliseconds first_retry{2000};
  std::optional<std::chrono::milliseconds> initialize;  // instead of box.startup_timeout
};

class Server {
 public:
  Server(boost::asio::any_io_executor executor, boost::asio::thread_pool& pool, config::ServerSettings settings,
         ServerParts parts, ServerTiming timing = {});
  ~Server();

  // The life cycle; ends after request_shut_down(), with nothing of the server left. Not to be cancelled.
  Task<void> run();

  // At any moment, also before run(). They return at once; settle() waits.
  void request_stop() { tell(Lifecycle::StopAsked{}); }
  void request_restart(bool fresh) { tell(Lifecycle::RestartAsked{fresh}); }
  void request_shut_down() { tell(Lifecycle::ShutDownAsked{}); }
  // Returns when the server is connected, or failed for good, or was stopped, or the time is up.
  Task<void> settle(std::chrono::steady_clock::time_point deadline);
  // Connected, failed for good or stopped, as the newest request wants it.
  bool settled() const { return lifecycle_.settled(); }
  std::chrono::seconds startup_timeout() const { return settings_.box.startup_timeout; }

  // kFailedPrecondition when it is not connected (the message says why), kUnavailable with how it died when it dies
  // meanwhile; never executed a second time by itself.
  Task<Result<Answer>> call_tool(std::string tool, json::RawObject arguments);
  Result<std::shared_ptr<const std::string>> tools_text() const;

  // Copies::pull. Works in every state.
  Task<Result<std::vector<provision::PullOutcome>>> pull(provision::PullOptions options);

  ServerView view() const;
  provision::ServerLog& log() { return *parts_.log; }
  // Notified when the view's state, phase or error may have changed.
  net::Signal& changed() { return changed_; }
  const std::string& name() const { return settings_.name; }

 private:
  class Report;

  void tell(const Lifecycle::Event& event);
  void say_what_changed(ServerState state, provision::Phase phase, std::size_t phases);
  Task<void> carry_out(Lifecycle::Action action);
  Task<void> start(bool fresh);
  void start_ended(Result<void> outcome);
  void observe();
  std::chrono::steady_clock::time_point wake() const;
  std::string not_connected() const;
  InstanceId id_of(const ScopeKey& key) const { return {settings_.name, key.value}; }

  boost::asio::any_io_executor executor_;
  boost::asio::thread_pool& threads_;
  config::ServerSettings settings_;
  ServerParts parts_;
  ServerTiming timing_;
  net::Signal changed_;
  Lifecycle lifecycle_;
  std::deque<Lifecycle::Action> actions_;  // to be carried out by run()
  bool start_open_ = false;                // kStart was carried out, StartEnded not told yet
  std::uint64_t log_start_ = 0;            // of the newest attempt
  ConnectionView last_;                    // of the newest connection: its environment is told also when it is gone
  InstancePool instances_;
  net::TaskGroup starting_;
};

}  // namespace mcpbox::hosting
