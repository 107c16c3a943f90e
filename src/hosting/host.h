// All servers of one configuration, and their common start and end.
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
#include "hosting/server.h"
#include "net/task.h"
#include "net/task_group.h"

namespace mcpbox::hosting {

class Host {
 public:
  // `backend` and `pool` outlive the host.
  Host(boost::asio::any_io_executor executor, boost::asio::thread_pool& pool,
       std::vector<config::ServerSettings> servers, Backend& backend);
  ~Host();

  // Starts every enabled server; returns at once, settle() waits.
  void start();
  // Stops every server and closes the backend.
  Task<Result<void>> stop();

  const std::vector<std::unique_ptr<Server>>& servers() const { return servers_; }
  // kNotFound with the names that there are.
  Result<Server*> find(const std::string& name);
  // Waits until every server is connected, stopped or failed for good.
  Task<void> settle(std::chrono::steady_clock::time_point deadline);

 private:
  Backend& backend_;
  std::vector<std::unique_ptr<Server>> servers_;
  net::TaskGroup tasks_;
};

}  // namespace mcpbox::hosting
