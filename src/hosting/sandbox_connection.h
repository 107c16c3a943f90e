// A server's process in a sandbox as a connection: messages over its stdin and stdout, its stderr into the log.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <optional>

#include "hosting/connector.h"
#include "net/task_group.h"
#include "provision/sandboxed_connector.h"
#include "provision/server_log.h"

namespace mcpbox::hosting {

class SandboxConnection final : public Connection {
 public:
  SandboxConnection(boost::asio::any_io_executor executor, std::unique_ptr<provision::SandboxedProcess> process,
                    provision::ServerLog& log);

  std::unique_ptr<channel::Channel> take_channel() override;
  const std::optional<End>& ended() const override { return end_; }
  bool drained() const override { return errors_ended_; }
  net::Signal& changed() override { return changed_; }
  Task<void> stop(Grace grace) override;
  ConnectionView view() const override;

 private:
  Task<void> read_errors(UniqueFd errors);
  void look();

  boost::asio::any_io_executor executor_;
  provision::ServerLog& log_;
  net::Signal changed_;
  std::optional<End> end_;
  bool errors_ended_ = false;
  std::unique_ptr<provision::SandboxedProcess> process_;
  box::ProcessPipes pipes_;
  net::TaskGroup tasks_;
};

}  // namespace mcpbox::hosting
