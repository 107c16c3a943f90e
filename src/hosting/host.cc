#include "hosting/host.h"

#include <fmt/format.h>

#include <utility>

#include "base/text.h"

namespace mcpbox::hosting {

Host::Host(boost::asio::any_io_executor executor, boost::asio::thread_pool& pool,
           std::vector<config::ServerSettings> servers, Backend& backend)
    : backend_(backend), tasks_(executor, "host") {
  for (config::ServerSettings& settings : servers) {
    const bool enabled = settings.enable;
    ServerParts parts = backend.make(settings);
    servers_.push_back(std::make_unique<Server>(executor, pool, std::move(settings), std::move(parts)));
    if (!enabled) servers_.back()->request_stop();
  }
}

Host::~Host() = default;

void Host::start() {
  for (const auto& server : servers_) tasks_.spawn(server->name(), server->run());
  backend_.start();
}

Task<Result<void>> Host::stop() {
  for (const auto& server : servers_) server->request_shut_down();
  co_await tasks_.join();
  co_return co_await backend_.close();
}

Result<Server*> Host::find(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& server : servers_) {
    if (server->name() == name) return server.get();
    names.push_back(server->name());
  }
  return fail(Code::kNotFound, fmt::format("no server is named '{}'{}; there are: {}", printable(name, 100),
                                           did_you_mean(name, names), join(names, ", ")));
}

Task<void> Host::settle(std::chrono::steady_clock::time_point deadline) {
  for (const auto& server : servers_) co_await server->settle(deadline);
}

}  // namespace mcpbox::hosting
