#include "hosting/host.h"

#include <fmt/format.h>

#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "provision/egress_policy.h"

namespace mcpbox::hosting {
namespace {

box::SandboxOptions sandbox_defaults(const HostOptions& options) {
  box::SandboxOptions sandbox;
  sandbox.instance = options.instance;
  sandbox.init_path = options.init_path;
  sandbox.run_dir = options.run_dir;
  sandbox.ca_bundle = options.ca_bundle;
  sandbox.uids = options.uids;
  sandbox.tools = options.tools;
  if (options.egress != nullptr) sandbox.egress_dir = options.egress->directory();
  sandbox.cache_volume = cache_volume(options.instance);
  sandbox.profile.image = options.image;
  const config::Limits& limits = options.settings.box.limits;
  sandbox.profile.limits.cpus = limits.cpus;
  sandbox.profile.limits.memory_bytes = limits.memory_mb << 20;
  sandbox.profile.limits.processes = limits.pids;
  return sandbox;
}

provision::InstallerOptions installer_options(const HostOptions& options) {
  provision::InstallerOptions installer;
  installer.sandbox = sandbox_defaults(options);
  std::map<std::string, Secret> own;
  for (const auto& [name, value] : options.settings.box.install_env) own[name] = value.text;
  installer.env = provision::install_variables(std::move(own));
  installer.egress = options.egress;
  installer.policy = options.policy.staging();
  installer.uids = provision::UidBook(options.state_dir, options.instance, options.engine, options.uids);
  installer.state_dir = options.state_dir;
  installer.engine = options.engine;
  installer.quota_bytes = options.settings.box.env_quota_mb << 20;
  installer.sources = {options.settings.box.install_mode == config::InstallMode::kOffline,
                       options.settings.box.wheelhouse, options.settings.box.npm_cache};
  return installer;
}

}  // namespace

std::string cache_volume(const std::string& instance) {
  return fmt::format("mcpbox-{}-cache", instance.substr(0, 8));
}

Host::Host(box::Engine& engine, boost::asio::any_io_executor executor, boost::asio::thread_pool& pool,
           HostOptions options)
    : tasks_(executor, "host"),
      sandboxes_(engine, executor, options.settings.box.sandbox_idle,
                 [this](std::shared_ptr<provision::SharedSandbox> sandbox) {
                   tasks_.spawn("loss", tell_loss(std::move(sandbox)));
                 }),
      installer_(engine, executor, pool, installer_options(options)),
      context_{executor,
               {engine, pool, installer_.uids(), sandbox_defaults(options), options.image, options.policy,
                options.one_server_per_sandbox},
               provision::SandboxedConnector({executor, pool, sandboxes_, installer_, options.egress,
                                              options.state_dir.empty() ? "" : options.state_dir + "/staged",
                                              options.one_server_per_sandbox})} {
  for (config::ServerSettings& settings : options.settings.servers) {
    const bool enabled = settings.enable;
    servers_.push_back(std::make_unique<HostedServer>(context_, std::move(settings)));
    if (!enabled) servers_.back()->request_stop();
  }
}

Host::~Host() = default;

void Host::start() {
  for (const auto& server : servers_) tasks_.spawn(server->name(), run_server(*server));
  sandboxes_.sweep(context_.host.sandbox.instance);
}

Task<void> Host::run_server(HostedServer& server) {
  co_await server.run();
}

Task<void> Host::tell_loss(std::shared_ptr<provision::SharedSandbox> sandbox) {
  const std::string how = co_await sandbox->sandbox().describe_loss();
  log::error(sandbox->sandbox().options().name, "{}", how);
  sandbox->declare_lost(how);
}

Task<Result<void>> Host::stop() {
  for (const auto& server : servers_) server->request_shut_down();
  co_await tasks_.join();
  co_return co_await sandboxes_.close_all();
}

Result<HostedServer*> Host::find(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& server : servers_) {
    if (server->name() == name) return server.get();
    names.push_back(server->name());
  }
  return fail(Code::kNotFound,
              fmt::format("no server is named '{}'; there are: {}", printable(name, 100), join(names, ", ")));
}

Task<void> Host::settle(std::chrono::steady_clock::time_point deadline) {
  for (const auto& server : servers_) co_await server->settle(deadline);
}

Task<Result<Removed>> remove_everything(box::Engine& engine, const std::string& instance, bool volumes) {
  Removed removed;
  auto sandboxes = co_await engine.list(box::instance_labels(instance));
  if (!sandboxes) co_return fail(std::move(sandboxes).error());
  for (const box::SandboxState& sandbox : *sandboxes) {
    auto gone = co_await engine.remove(sandbox.id);
    if (!gone) co_return fail(std::move(gone).error().with_context(fmt::format("sandbox {}", sandbox.name)));
    ++removed.sandboxes;
  }
  auto found = co_await engine.list_volumes(box::instance_labels(instance));
  if (!found) co_return fail(std::move(found).error());
  for (const std::string& volume : *found) {
    if (!volumes && (volume == cache_volume(instance) || volume.ends_with(provision::kWorkspaceSuffix))) continue;
    auto gone = co_await engine.remove_volume(volume);
    if (!gone) co_return fail(std::move(gone).error().with_context(fmt::format("volume {}", volume)));
    ++removed.volumes;
  }
  co_return removed;
}

}  // namespace mcpbox::hosting
