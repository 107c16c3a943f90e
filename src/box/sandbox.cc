#include "box/sandbox.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "base/errno_error.h"
#include "base/log.h"
#include "net/wait.h"
#include "sys/private_directory.h"

namespace mcpbox::box {
namespace {

constexpr std::string_view kControlMount = "/.boxrun";
constexpr std::string_view kInitMount = "/.box/mcpbox-init";

}  // namespace

Labels instance_labels(const std::string& instance) {
  return {{"io.mcpbox.instance", instance}};
}

std::string Sandbox::sandbox_name(const SandboxOptions& options) {
  return fmt::format("mcpbox-{}-{}", options.instance.substr(0, 8), options.name);
}

Sandbox::~Sandbox() {
  // Opening failed or was cancelled on the way: nobody else knows of the directory.
  if (made_control_dir_ && !supervisor_) remove_control_dir();
}

void Sandbox::remove_control_dir() {
  ::unlink((control_dir_ + "/control.sock").c_str());
  ::rmdir(control_dir_.c_str());
}

Task<Result<std::unique_ptr<Sandbox>>> Sandbox::open(Engine& engine, boost::asio::any_io_executor executor,
                                                     SandboxOptions options) {
  std::unique_ptr<Sandbox> opened(new Sandbox(engine, std::move(options)));
  if (!opened->options_.profile.image.starts_with("host")) opened->options_.tools = {};
  const SandboxOptions& o = opened->options_;

  SandboxSpec spec;
  spec.name = sandbox_name(o);
  spec.profile = o.profile;
  spec.labels = o.labels;
  spec.labels.merge(instance_labels(o.instance));
  spec.labels["io.mcpbox.session"] = o.name;
  spec.remove_on_exit = o.ephemeral;
  opened->control_dir_ = fmt::format("{}/{}", o.run_dir, spec.name);

  std::vector<Mount>& mounts = spec.profile.mounts;
  mounts.push_back({Mount::Kind::kBind, o.init_path, std::string(kInitMount), true, 0});
  mounts.push_back({Mount::Kind::kBind, opened->control_dir_, std::string(kControlMount), false, 0});
  if (!o.egress_dir.empty()) {
    mounts.push_back({Mount::Kind::kMemory, {}, std::string(kEgressCover), false, 4096, 0700});
    mounts.push_back({Mount::Kind::kBind, o.egress_dir, std::string(kEgressMount), true});
  }
  if (!o.ca_bundle.empty()) mounts.push_back({Mount::Kind::kBind, o.ca_bundle, std::string(kCaBundleMount), true, 0});
  mounts.push_back({o.workspace_volume.empty() ? Mount::Kind::kScratch : Mount::Kind::kVolume, o.workspace_volume,
                    std::string(kWorkspaceMount), false, 0});
  if (!o.cache_volume.empty()) {
    mounts.push_back({Mount::Kind::kVolume, o.cache_volume, std::string(kCacheMount), !o.cache_writable, 0});
  }
  spec.init_argv = {std::string(kInitMount),
                    "--control",
                    fmt::format("{}/control.sock", kControlMount),
                    "--owner",
                    fmt::format("{}", ::geteuid()),
                    "--root",
                    std::string(kWorkspaceMount)};
  if (!o.cache_volume.empty()) {
    spec.init_argv.emplace_back("--root");
    spec.init_argv.emplace_back(kCacheMount);
  }
  // A folder of the sandbox that stands for a staged host folder is a root of its own.
  for (const Mount& mount : o.profile.mounts) {
    if (mount.kind != Mount::Kind::kScratch) continue;
    spec.init_argv.emplace_back("--root");
    spec.init_argv.push_back(mount.target);
  }
  if (!o.egress_dir.empty()) {
    spec.init_argv.emplace_back("--egress");
    spec.init_argv.push_back(fmt::format("{}:{}/{}", kEgressPort, kEgressMount, kEgressSocket));
  }
  if (o.ephemeral) spec.init_argv.emplace_back("--ephemeral");

  if (!o.ephemeral) {
    Labels mine = instance_labels(o.instance);
    mine["io.mcpbox.session"] = o.name;
    auto found = co_await engine.list(std::move(mine));
    if (!found) co_return fail(std::move(found).error());
    for (SandboxState& state : *found) {
      const auto hash = state.labels.find("io.mcpbox.profile");
      const bool same = hash != state.labels.end() && hash->second == spec.profile.hash();
      if (same && state.running && !opened->adopted_) {
        opened->state_ = state;
        auto connected = co_await opened->connect(executor);
        if (connected) {
          opened->adopted_ = true;
          continue;
        }
        log::warning(o.name, "cannot adopt sandbox {}: {}; making a new one", spec.name, connected.error().message());
      }
      auto removed = co_await engine.remove(state.id);
      if (!removed) co_return fail(std::move(removed).error().with_context("removing an earlier sandbox"));
    }
    if (opened->adopted_) co_return opened;
  }

  auto made = sys::make_private_directory(opened->control_dir_);
  if (!made) co_return fail(std::move(made).error());
  opened->made_control_dir_ = *made;
  for (const Mount& mount : mounts) {
    if (mount.kind != Mount::Kind::kVolume) continue;
    auto ensured = co_await engine.ensure_volume(mount.source, instance_labels(o.instance));
    if (!ensured) co_return fail(std::move(ensured).error());
  }
  auto created = co_await engine.create(std::move(spec));
  if (!created) co_return fail(std::move(created).error());
  opened->state_ = std::move(*created);
  auto connected = co_await opened->connect(executor);
  if (!connected) {
    const std::string how = co_await opened->describe_loss();
    (void)co_await opened->close();
    co_return fail(Code::kUnavailable, fmt::format("the sandbox was made but its supervisor does not answer ({}): {}",
                                                   how, connected.error().message()));
  }
  co_return opened;
}

std::unique_ptr<Sandbox> Sandbox::over(Engine& engine, SandboxOptions options, SandboxState state,
                                       std::unique_ptr<Supervisor> supervisor) {
  std::unique_ptr<Sandbox> sandbox(new Sandbox(engine, std::move(options)));
  sandbox->state_ = std::move(state);
  sandbox->supervisor_ = std::move(supervisor);
  return sandbox;
}

Task<Result<void>> Sandbox::connect(boost::asio::any_io_executor executor) {
  const std::string socket = control_dir_ + "/control.sock";
  auto link = co_await Supervisor::connect(executor, socket, options_.connect_timeout);
  if (!link) co_return fail(std::move(link).error());
  supervisor_ = std::move(*link);
  if (options_.ephemeral) {
    // The connection is all that is needed from here on. Without a name on the host nothing is left behind when we are
    // killed.
    ::unlink(socket.c_str());
    ::rmdir(control_dir_.c_str());
  }
  co_return Result<void>{};
}

Task<std::string> Sandbox::describe_loss() {
  auto state = co_await engine_.inspect(state_.id);
  // The supervisor's end is seen here before the engine has taken note of it.
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(3);
  while (state && state->running && std::chrono::steady_clock::now() < patience) {
    co_await net::sleep_for(std::chrono::milliseconds(100));
    state = co_await engine_.inspect(state_.id);
  }
  // A removal kills first and takes the sandbox off the list later.
  const auto removal = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  while (state && !state->running && state->exit_code == 137 && !state->killed_for_memory &&
         std::chrono::steady_clock::now() < removal) {
    co_await net::sleep_for(std::chrono::milliseconds(100));
    state = co_await engine_.inspect(state_.id);
  }
  if (!state) {
    if (state.error().code() == Code::kNotFound) co_return "the sandbox was removed from outside mcpbox";
    co_return fmt::format("the engine does not say what became of the sandbox: {}", state.error().message());
  }
  if (state->running) co_return "the sandbox runs, but its supervisor closed the connection";
  if (state->killed_for_memory) co_return "the sandbox was killed for memory; raise box.limits.memory_mb";
  co_return fmt::format("the sandbox ended with exit code {}", state->exit_code.value_or(-1));
}

Task<Result<void>> Sandbox::close() {
  if (supervisor_) {
    supervisor_->on_lost({});
    (void)co_await supervisor_->shutdown();  // removal below does the same, less gently
  }
  auto removed = co_await engine_.remove(state_.id);
  remove_control_dir();
  co_return removed;
}

}  // namespace mcpbox::box
