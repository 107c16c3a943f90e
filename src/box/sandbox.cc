#include "box/sandbox.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/root_fs.h"
#include "base/setting_name.h"
#include "box/judged_mounts.h"
#include "net/uninterrupted.h"
#include "net/wait.h"
#include "sys/process_name.h"

namespace mcpbox::box {
namespace {

// What must be there before the sandbox is.
std::vector<std::string> volumes_of(const SandboxSpec& spec) {
  std::vector<std::string> out;
  for (const Mount& mount : spec.profile.mounts) {
    if (mount.kind == Mount::Kind::kVolume) out.push_back(mount.source);
  }
  for (const std::string& name : {spec.equipment->work_space, spec.equipment->cache}) {
    if (!name.empty()) out.push_back(name);
  }
  return out;
}

}  // namespace

Labels instance_labels(const std::string& instance) {
  return {{"io.mcpbox.instance", instance}};
}

std::string name_prefix(const std::string& instance) {
  return fmt::format("mcpbox-{}-", instance.substr(0, 8));
}

std::string Sandbox::sandbox_name(const SandboxOptions& options) {
  return name_prefix(options.instance) + options.name;
}

Task<Result<std::unique_ptr<Sandbox>>> Sandbox::open(Engine& engine, SandboxOptions options) {
  std::unique_ptr<Sandbox> opened(new Sandbox(engine, std::move(options)));
  if (root_fs_of(opened->options_.profile.image) != RootFs::kHostSystem) opened->options_.tools = {};
  const SandboxOptions& o = opened->options_;

  SandboxSpec spec;
  spec.name = sandbox_name(o);
  spec.profile = o.profile;
  spec.labels = o.labels;
  spec.labels.merge(instance_labels(o.instance));
  spec.labels["io.mcpbox.session"] = o.name;
  if (o.ephemeral) {
    auto owner = sys::own_process();
    if (!owner) co_return fail(std::move(owner).error());
    spec.labels[kOwnerLabel] = std::move(*owner);
  }
  spec.remove_on_exit = o.ephemeral;
  spec.one_server = o.alone;
  spec.equipment = Equipment{o.init_path,    o.run_dir,        o.ca_bundle,        o.egress_dir,
                             o.cache_volume, o.cache_writable, o.workspace_volume, o.control_nonce};
  const std::string hash = spec.hash();

  if (!o.ephemeral) {
    Labels mine = instance_labels(o.instance);
    mine["io.mcpbox.session"] = o.name;
    auto found = co_await engine.list(std::move(mine));
    if (!found) co_return fail(std::move(found).error());
    for (SandboxState& state : *found) {
      const auto made_from = state.labels.find(kProfileLabel);
      const bool same = made_from != state.labels.end() && made_from->second == hash;
      if (same && state.running && !opened->adopted_) {
        opened->state_ = state;
        auto connected = co_await opened->connect();
        if (connected) {
          opened->adopted_ = true;
          continue;
        }
        opened->state_ = {};
        opened->supervisor_.reset();
        log::warning(o.name, "cannot adopt sandbox {}: {}; making a new one", spec.name, connected.error().message());
      }
      auto removed = co_await engine.remove(state.id);
      if (!removed) co_return fail(std::move(removed).error().with_context("removing an earlier sandbox"));
    }
    if (opened->adopted_) co_return opened;
  }

  for (const std::string& volume : volumes_of(spec)) {
    auto ensured = co_await engine.ensure_volume(volume, instance_labels(o.instance));
    if (!ensured) co_return fail(std::move(ensured).error());
  }
  std::string how;
  const auto undo = [&](const Error& why) -> Task<void> {
    if (opened->state_.id.empty()) co_return;
    // Until somebody is connected, PID 1 waits, and the sandbox keeps its name.
    if (why.code() != Code::kCancelled && !opened->supervisor_) how = co_await opened->describe_loss();
    if (auto closed = co_await opened->close(); !closed)
      log::warning(o.name, "the unfinished sandbox was not removed: {}", closed.error().message());
  };
  auto made = co_await net::undone_unless_done(opened->make(std::move(spec)), undo);
  if (made) co_return opened;
  // What a connected PID 1 showed says by itself what is wrong.
  if (opened->state_.id.empty() || opened->supervisor_ || made.error().code() == Code::kCancelled)
    co_return fail(std::move(made).error());
  co_return fail(Code::kUnavailable, fmt::format("the sandbox was made but its supervisor does not answer ({}): {}",
                                                 how, made.error().message()));
}

std::unique_ptr<Sandbox> Sandbox::over(Engine& engine, SandboxOptions options, SandboxState state,
                                       std::unique_ptr<Supervisor> supervisor) {
  std::unique_ptr<Sandbox> sandbox(new Sandbox(engine, std::move(options)));
  sandbox->state_ = std::move(state);
  sandbox->supervisor_ = std::move(supervisor);
  return sandbox;
}

Task<Result<void>> Sandbox::make(SandboxSpec spec) {
  auto created = co_await engine_.create(std::move(spec));
  if (!created) co_return fail(std::move(created).error());
  state_ = std::move(*created);
  co_return co_await connect();
}

Task<Result<void>> Sandbox::connect() {
  auto link = co_await engine_.dial(state_, options_.connect_timeout);
  if (!link) co_return fail(std::move(link).error());
  supervisor_ = std::move(*link);
  if (!options_.alone) {
    const auto given = co_await give_group();
    no_groups_ = given ? "" : given.error().message();
    const bool odd =
        !given && given.error().code() != Code::kUnsupported && given.error().code() != Code::kPermissionDenied;
    if (odd)
      log::warning("box", "sandbox {}: its servers have no control groups of their own: {}", state_.name, no_groups_);
  }
  co_return co_await check_judged_mounts(*supervisor_, options_.profile.mounts);
}

Task<Result<void>> Sandbox::give_group() {
  auto group = co_await engine_.group_of_servers(state_);
  if (!group) co_return fail(std::move(group).error());
  if (!group->directory) co_return Result<void>{};
  co_return co_await supervisor_->take_group(std::move(*group));
}

std::string Sandbox::spaces() const {
  const auto label = state_.labels.find(kSpacesLabel);
  return label == state_.labels.end() ? "all" : label->second;
}

Task<Result<std::shared_ptr<DiskBound>>> Sandbox::bound_disk(std::vector<std::string> folders, uid_t owner) {
  co_return co_await engine_.bound_disk({state_.id, std::move(folders), owner});
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
  if (state->killed_for_memory) {
    co_return fmt::format("the sandbox was killed for memory; raise {}",
                          setting_name("box.limits.memory_mb", "--memory"));
  }
  const int code = state->exit_code.value_or(-1);
  // Whoever kills it, and a kernel that is short of memory as long as the engine did not watch yet.
  if (code == 137) {
    co_return "the sandbox ended with exit code 137: its first process was killed, and the engine does not know by "
              "whom; look for \"oom\" in the kernel's log (dmesg)";
  }
  co_return fmt::format("the sandbox ended with exit code {}", code);
}

Task<Result<void>> Sandbox::close() {
  if (supervisor_) {
    supervisor_->on_lost({});
    (void)co_await supervisor_->shutdown();  // removal below does the same, less gently
  }
  co_return co_await engine_.remove(state_.id);
}

}  // namespace mcpbox::box
