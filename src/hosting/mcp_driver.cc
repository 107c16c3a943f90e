#include "hosting/mcp_driver.h"

#include <memory>
#include <utility>

#include "channel/pipe_channel.h"
#include "hosting/stderr_reader.h"

namespace mcpbox::hosting {

McpDriver::McpDriver(boost::asio::any_io_executor executor, boost::asio::thread_pool& pool, box::ProcessPipes pipes,
                     mcp::SessionOptions options, provision::ServerLog& log)
    : executor_(executor),
      err_(std::move(pipes.err)),
      log_(log),
      loop_(executor, pool, std::make_unique<channel::PipeChannel>(executor, std::move(pipes.in), std::move(pipes.out)),
            std::move(options), log),
      tasks_(executor, "stderr") {}

void McpDriver::start(std::function<void()> on_change) {
  on_change_ = std::move(on_change);
  tasks_.spawn("stderr", read_errors());
  loop_.start(on_change_);
}

Task<void> McpDriver::stop(Error reason) {
  co_await loop_.stop(std::move(reason));
  co_await tasks_.stop();
}

Task<void> McpDriver::read_errors() {
  co_await read_stderr(executor_, std::move(err_), log_);
  errors_ended_ = true;
  on_change_();
}

}  // namespace mcpbox::hosting
