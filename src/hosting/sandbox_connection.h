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

  // An error when the loop cannot take its pipes.
  Result<std::unique_ptr<channel::Channel>> take_channel() override;
  const std::optional<End>& ended() const override { return end_; }
  bool ending() const override { return !end_ && process_->losing(); }
  bool drained() const override { return news_->errors_ended; }
  net::Signal& changed() override { return news_->changed; }
  Task<void> stop(Grace grace) override;
  ConnectionView view() const override;

 private:
  // What the reader of stderr tells. Its task owns it too: it ends after us where nobody awaited stop().
  struct News {
    explicit News(boost::asio::any_io_executor executor) : changed(std::move(executor)) {}
    net::Signal changed;
    bool errors_ended = false;
  };
  static Task<void> read_errors(boost::asio::any_io_executor executor, UniqueFd errors, provision::ServerLog& log,
                                std::shared_ptr<News> news);
  void look();

  boost::asio::any_io_executor executor_;
  std::shared_ptr<News> news_;
  std::optional<End> end_;
  std::unique_ptr<provision::SandboxedProcess> process_;
  box::ProcessPipes pipes_;
  net::TaskGroup tasks_;
};

}  // namespace mcpbox::hosting
