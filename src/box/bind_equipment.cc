#include "box/bind_equipment.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "base/way_out.h"
#include "box/places.h"
#include "box/sandbox_spec.h"
#include "sys/private_directory.h"

namespace mcpbox::box {
namespace {

// Where the control socket is on the host, and that nobody but its first controller is meant to reach it.
constexpr const char* kControlLabel = "io.mcpbox.control";
constexpr const char* kEphemeralLabel = "io.mcpbox.ephemeral";

std::string socket_in(const std::string& directory) {
  return directory + "/control.sock";
}

void remove_directory(const std::string& directory) {
  ::unlink(socket_in(directory).c_str());
  ::rmdir(directory.c_str());
}

void add_mounts(const Equipment& equipment, const std::string& control, std::vector<Mount>& mounts) {
  using enum Mount::Kind;
  mounts.push_back({kBind, equipment.init, std::string(kInitMount), true, 0});
  mounts.push_back({kBind, control, std::string(kControlMount), false, 0});
  if (!equipment.way_out.empty()) {
    mounts.push_back({kMemory, {}, std::string(kEgressCover), false, 4096, 0700});
    mounts.push_back({kBind, equipment.way_out, std::string(kEgressMount), true});
  }
  if (!equipment.trust_store.empty())
    mounts.push_back({kBind, equipment.trust_store, std::string(kCaBundleMount), true, 0});
  mounts.push_back({equipment.work_space.empty() ? kScratch : kVolume, equipment.work_space,
                    std::string(kWorkspaceMount), false, 0});
  if (!equipment.cache.empty())
    mounts.push_back({kVolume, equipment.cache, std::string(kCacheMount), !equipment.cache_writable, 0});
}

std::vector<std::string> arguments_of(const SandboxSpec& spec) {
  std::vector<std::string> out{std::string(kInitMount), "--control", socket_in(std::string(kControlMount)), "--owner",
                               std::to_string(::geteuid())};
  const auto root = [&](std::string_view path) {
    out.emplace_back("--root");
    out.emplace_back(path);
  };
  root(kWorkspaceMount);
  if (!spec.equipment->cache.empty()) root(kCacheMount);
  // A folder of the sandbox that stands for a staged host folder is a root of its own.
  for (const Mount& mount : spec.profile.mounts) {
    if (mount.kind == Mount::Kind::kScratch) root(mount.target);
  }
  if (!spec.equipment->way_out.empty()) {
    out.emplace_back("--egress");
    out.push_back(fmt::format("{}:{}/{}", kEgressPort, kEgressMount, kEgressSocket));
  }
  if (spec.remove_on_exit) out.emplace_back("--ephemeral");
  return out;
}

}  // namespace

BindEquipment::Control::Control(Control&& other) noexcept
    : path_(std::move(other.path_)), fresh_(std::exchange(other.fresh_, false)) {}

BindEquipment::Control::~Control() {
  if (fresh_) remove_directory(path_);
}

Result<BindEquipment::Control> BindEquipment::prepare(SandboxSpec& spec) {
  spec.labels.emplace(kProfileLabel, spec.hash());
  if (!spec.equipment) return Control({}, false);
  const std::string directory = fmt::format("{}/{}", spec.equipment->run_dir, spec.name);
  spec.init_argv = arguments_of(spec);
  add_mounts(*spec.equipment, directory, spec.profile.mounts);
  spec.labels[kControlLabel] = directory;
  if (spec.remove_on_exit) spec.labels[kEphemeralLabel] = "1";
  auto fresh = sys::make_private_directory(directory);
  if (!fresh) return fail(std::move(fresh).error());
  return Control(directory, *fresh);
}

void BindEquipment::made(Control control, const std::string& id) {
  control.fresh_ = false;
  if (!control.path_.empty()) control_[id] = control.path_;
}

Task<Result<std::unique_ptr<Supervisor>>> BindEquipment::dial(boost::asio::any_io_executor executor, SandboxState state,
                                                              std::chrono::milliseconds timeout) {
  const auto directory = state.labels.find(kControlLabel);
  if (directory == state.labels.end() || !is_normal_path(directory->second)) {
    co_return fail(Code::kFailedPrecondition,
                   fmt::format("the sandbox {} does not say where its control socket is", state.name));
  }
  control_[state.id] = directory->second;
  auto link = co_await Supervisor::connect(std::move(executor), socket_in(directory->second), timeout);
  // The connection is all that is needed from here on. Without a name on the host nothing is left behind when we are
  // killed.
  if (link && state.labels.contains(kEphemeralLabel)) {
    remove_directory(directory->second);
    control_.erase(state.id);  // the next sandbox of the name has one of its own there
  }
  co_return link;
}

void BindEquipment::removed(const std::string& id) {
  const auto found = control_.find(id);
  if (found == control_.end()) return;
  remove_directory(found->second);
  control_.erase(found);
}

}  // namespace mcpbox::box
