#include "hosting/server.h"

#include <fmt/format.h>

#include <utility>

#include "base/text.h"
#include "json/writer.h"

namespace mcpbox::hosting {

using Clock = std::chrono::steady_clock;

Server::Server(boost::asio::any_io_executor executor, boost::asio::thread_pool& pool, config::ServerSettings settings,
               ServerParts parts, ServerTiming timing)
    : context_(std::move(executor), pool, std::move(settings), std::move(parts), timing), instances_(context_) {}

Server::~Server() = default;

Task<void> Server::settle(Clock::time_point deadline) {
  while (!settled() && Clock::now() < deadline) (void)co_await changed().wait_until(deadline);
}

Task<Result<Answer>> Server::call_tool(std::string tool, json::RawObject arguments) {
  auto lease = co_await instances_.acquire(kShared);
  if (!lease) co_return fail(std::move(lease).error());
  json::Writer params;
  params.object().member("name", tool).member("arguments", arguments.raw()).end();
  arguments = json::RawObject();
  auto reply = co_await (*lease)->call("tools/call", json::RawObject::of(params), context_.settings.tool_call_timeout);
  if (!reply) {
    if (reply.error().code() == Code::kTimeout && context_.settings.tool_call_timeout.count() > 0) {
      reply = fail(Code::kTimeout, fmt::format("{}; tool_call_timeout_sec gives it longer", reply.error().message()));
    }
    co_return fail(std::move(reply).error().with_context(
        fmt::format("server '{}', tool '{}'", context_.settings.name, printable(tool))));
  }
  co_return reply;
}

Result<std::shared_ptr<const std::string>> Server::list_text(const mcp::CatalogKind& kind) const {
  const InstanceLife& life = instances_.shown();
  if (!life.lifecycle().serving() || life.instance() == nullptr)
    return fail(Code::kFailedPrecondition, life.not_connected());
  const mcp::Catalog* catalog = life.instance()->session().catalog(kind);
  if (catalog == nullptr)
    return fail(Code::kUnsupported, fmt::format("server '{}' is not asked for its {}s", name(), kind.one));
  return catalog->text();
}

Task<Result<std::vector<provision::PullOutcome>>> Server::pull(provision::PullOptions options) {
  Copies* copies = context_.parts.connector->copies();
  if (copies == nullptr) {
    co_return fail(Code::kFailedPrecondition,
                   fmt::format("server '{}' has no copy of a folder", context_.settings.name));
  }
  struct Pulling {
    unsigned& count;
    explicit Pulling(unsigned& n) : count(n) { ++count; }
    ~Pulling() { --count; }
    Pulling(const Pulling&) = delete;
    Pulling& operator=(const Pulling&) = delete;
  } const pulling(pulls_);
  co_return co_await copies->pull({name(), kShared.value}, std::move(options));
}

ServerView Server::view() const {
  const InstanceLife& life = instances_.shown();
  const Lifecycle& lifecycle = life.lifecycle();
  ServerView view;
  view.name = context_.settings.name;
  view.state = lifecycle.state();
  view.phase = lifecycle.phase();
  view.error = life.trouble();
  view.process = context_.parts.process;
  view.network = context_.parts.network;
  view.environment = life.last().environment;
  view.packages = life.last().packages;
  view.restarts = lifecycle.starts() == 0 ? 0 : lifecycle.starts() - 1;
  view.phases = lifecycle.phases();
  if (const Instance* instance = life.instance()) {
    const ConnectionView connection = instance->view();
    view.sandbox = connection.sandbox;
    view.pid = connection.pid;
    view.uid = connection.uid;
    if (view.state == ServerState::kConnected) {
      const mcp::ClientSession& session = instance->session();
      view.tool_count = session.tools().size();
      view.server_name = session.server().name;
      view.server_version = session.server().version;
      view.protocol_version = session.server().protocol_version;
    }
  }
  if (const auto since = lifecycle.connected_since(); since && view.state == ServerState::kConnected) {
    view.uptime = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - *since);
  }
  return view;
}

}  // namespace mcpbox::hosting
