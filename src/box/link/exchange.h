// Requests to mcpbox-init and their answers over one connection: each waits for its own, with a deadline of its own.
//
// Held by the socket's handlers, so it can outlive the Supervisor by a moment. All functions run on one executor.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "box/link/supervisor.h"
#include "box/link/supervisor_link.h"
#include "box/link/supervisor_socket.h"
#include "net/task.h"

namespace mcpbox::box {

class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  struct Answer {
    std::string payload;
    std::vector<UniqueFd> fds;
  };
  // Why there is no answer. `refused`: PID 1 said no, and did nothing. Otherwise nobody knows what it did.
  struct Failure {
    Error error;
    bool refused = false;
  };
  using Outcome = std::expected<Answer, Failure>;

  Exchange(boost::asio::any_io_executor executor, UniqueFd socket);
  void start();

  // Never throws when it is cancelled: that is a failure like another.
  template <class Message>
  Task<Outcome> call(Message message, std::chrono::milliseconds timeout, std::vector<UniqueFd> fds = {}) {
    if (lost_) co_return unknown(*lost_);
    auto request = link_.request(message, fds.size());
    if (!request) co_return refusal(std::move(request).error());
    co_return co_await send_and_wait(std::move(*request), timeout, std::move(fds));
  }

  void on_exit(Supervisor::ExitHandler handler);
  void on_pressure(Supervisor::PressureHandler handler) { pressure_handler_ = std::move(handler); }
  void on_lost(Supervisor::LostHandler handler);
  // Exits of a muted process are not reported.
  void mute(const std::string& process_id) { muted_.insert(process_id); }
  void unmute(const std::string& process_id) { muted_.erase(process_id); }
  bool lost() const { return lost_.has_value(); }
  // No handler is called any more; what waits fails.
  void close();
  const boost::asio::any_io_executor& executor() const { return executor_; }

 private:
  struct Waiter {
    explicit Waiter(const boost::asio::any_io_executor& executor) : timer(executor) {}
    boost::asio::steady_timer timer;
    std::optional<Outcome> outcome;
  };
  struct Remove;

  static std::unexpected<Failure> unknown(Error error) { return std::unexpected(Failure{std::move(error), false}); }
  static std::unexpected<Failure> refusal(Error error) { return std::unexpected(Failure{std::move(error), true}); }
  Task<Outcome> send_and_wait(SupervisorLink::Request request, std::chrono::milliseconds timeout,
                              std::vector<UniqueFd> fds);
  void received(std::string_view bytes, std::vector<UniqueFd> fds);
  void answer(SupervisorLink::Reply& reply);
  void deliver(const wire::Exited& exited);
  void lose(const Error& error);

  boost::asio::any_io_executor executor_;
  std::shared_ptr<SupervisorSocket> socket_;
  SupervisorLink link_;
  std::map<std::uint64_t, std::shared_ptr<Waiter>> waiters_;
  std::vector<wire::Exited> early_exits_;
  std::set<std::string> muted_;
  Supervisor::ExitHandler exit_handler_;
  Supervisor::PressureHandler pressure_handler_;
  Supervisor::LostHandler lost_handler_;
  std::optional<Error> lost_;
};

}  // namespace mcpbox::box
