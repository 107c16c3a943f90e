// One instance of a server, start after start: whose it is, what runs of it, and what is known of the newest attempt.
//
// Lifecycle decides, run() carries out: it starts through the connector, keeps the instance for who uses it, and tells
// the life cycle what became of it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/result.h"
#include "config/settings.h"
#include "hosting/backend.h"
#include "hosting/instance.h"
#include "hosting/lifecycle.h"
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

// What the instances of one server have in common. Outlives them.
struct InstanceContext {
  InstanceContext(boost::asio::any_io_executor on, boost::asio::thread_pool& pool, config::ServerSettings of,
                  ServerParts with, ServerTiming when)
      : executor(std::move(on)),
        threads(pool),
        settings(std::move(of)),
        parts(std::move(with)),
        timing(when),
        changed(executor) {}

  boost::asio::any_io_executor executor;
  boost::asio::thread_pool& threads;
  config::ServerSettings settings;
  ServerParts parts;
  ServerTiming timing;
  net::Signal changed;  // notified when what there is to see of one may have changed
};

// Lives on one executor. run() has ended, and every lease is back, before it is destroyed.
class InstanceLife {
 private:
  struct Running;

 public:
  // An instance in use: it lives at least until the lease is destroyed.
  class Lease {
   public:
    Lease(Lease&&) noexcept = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease();
    Instance* operator->() const;

   private:
    friend class InstanceLife;
    explicit Lease(std::shared_ptr<Running> running);
    std::shared_ptr<Running> running_;  // null when moved from
  };

  InstanceLife(InstanceContext& context, InstanceId id);
  ~InstanceLife();

  // Ends when a shut-down was asked for, with nothing of the instance left. Not to be cancelled.
  Task<void> run();
  // At any moment, also before run(). Returns at once.
  void tell(const Lifecycle::Event& event);

  const Lifecycle& lifecycle() const { return lifecycle_; }
  // For views: null when there is none, or when it is about to end.
  const Instance* instance() const;
  // Of the newest connection that told its environment, also when it is gone.
  const ConnectionView& last() const { return last_; }
  // kFailedPrecondition when it is not connected: the message says why.
  Result<Lease> lease();
  std::string not_connected() const;
  // Why it is not connected, for people; empty when all is well. Of a server that is not started any more it says so
  // first, and what brings it back.
  std::string trouble() const;

 private:
  class Report;

  const std::string& server() const { return context_.settings.name; }
  provision::ServerLog& log() { return *context_.parts.log; }
  void say_what_changed(ServerState state, provision::Phase phase, std::size_t phases);
  Task<void> carry_out(Lifecycle::Action action);
  Task<void> start(bool fresh);
  void start_ended(Result<void> outcome);
  Task<void> end(Error reason, bool broken);
  void observe();
  std::chrono::steady_clock::time_point wake() const;

  InstanceContext& context_;
  InstanceId id_;
  Lifecycle lifecycle_;
  std::deque<Lifecycle::Action> actions_;  // to be carried out by run()
  bool start_open_ = false;                // kStart was carried out, StartEnded not told yet
  std::uint64_t log_start_ = 0;            // of the newest attempt
  ConnectionView last_;
  std::shared_ptr<Running> running_;  // null when nothing runs
  net::TaskGroup starting_;
};

}  // namespace mcpbox::hosting
