#include "box/bind_equipment.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/text.h"
#include "base/way_out.h"
#include "box/places.h"
#include "box/sandbox_spec.h"
#include "sys/private_directory.h"
#include "sys/process_name.h"

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
    out.emplace_back("--sandbox");
    out.push_back(spec.name);
  }
  if (spec.remove_on_exit) out.emplace_back("--ephemeral");
  return out;
}

}  // namespace

std::string control_directory_name(std::string_view sandbox, std::string_view nonce) {
  return fmt::format("{}.{}", sandbox, nonce);
}

Result<std::string> control_nonce() {
  const pid_t self = ::getpid();
  const auto start = sys::start_of_process(self);
  if (!start) return fail(start.error());
  return fmt::format("{}-{}-{}", self, *start, random_hex(4));
}

bool control_maker_is_alive(std::string_view directory_name) {
  const std::size_t dot = directory_name.rfind('.');
  if (dot == std::string_view::npos) return false;
  const auto parts = split(directory_name.substr(dot + 1), '-');
  if (parts.size() != 3) return false;
  const auto boot = sys::boot_id();
  return !boot || sys::process_is_alive(fmt::format("{}:{}:{}", *boot, parts[0], parts[1]));
}

BindEquipment::Control::~Control() {
  if (!path_.empty()) remove_directory(path_);
}

std::string BindEquipment::Control::socket() const {
  return path_.empty() ? path_ : socket_in(path_);
}

Result<BindEquipment::Control> BindEquipment::prepare(SandboxSpec& spec) {
  spec.labels.emplace(kProfileLabel, spec.hash());
  if (!spec.equipment) return Control({});
  std::string nonce = spec.equipment->control_nonce;
  if (nonce.empty()) {
    auto fresh = control_nonce();
    if (!fresh) return fail(std::move(fresh).error());
    nonce = std::move(*fresh);
  }
  const std::string directory = spec.equipment->run_dir + "/" + control_directory_name(spec.name, nonce);
  spec.init_argv = arguments_of(spec);
  add_mounts(*spec.equipment, directory, spec.profile.mounts);
  spec.labels[kControlLabel] = directory;
  if (spec.remove_on_exit) spec.labels[kEphemeralLabel] = "1";
  // One that is there already is what an earlier try of this process left: nobody else has its nonce.
  if (auto made = sys::make_private_directory(directory); !made) return fail(std::move(made).error());
  return Control(directory);
}

void BindEquipment::made(Control control, const std::string& id) {
  if (std::string path = std::exchange(control.path_, {}); !path.empty()) control_[id] = std::move(path);
}

void BindEquipment::learn(const SandboxState& state) {
  const auto directory = state.labels.find(kControlLabel);
  if (directory != state.labels.end() && is_normal_path(directory->second))
    control_.try_emplace(state.id, directory->second);
}

Task<Result<std::unique_ptr<Supervisor>>> BindEquipment::dial(boost::asio::any_io_executor executor, SandboxState state,
                                                              std::chrono::milliseconds timeout) {
  const auto directory = state.labels.find(kControlLabel);
  if (directory == state.labels.end() || !is_normal_path(directory->second)) {
    co_return fail(Code::kFailedPrecondition,
                   fmt::format("the sandbox {} does not say where its control socket is", state.name));
  }
  learn(state);
  auto link = co_await Supervisor::connect(std::move(executor), socket_in(directory->second), timeout);
  // The connection is all that is needed from here on. Without a name on the host nothing is left behind when we are
  // killed.
  if (link && state.labels.contains(kEphemeralLabel)) {
    remove_directory(directory->second);
    control_[state.id].clear();
  }
  co_return link;
}

void BindEquipment::removed(const std::string& id) {
  const auto found = control_.find(id);
  if (found == control_.end()) return;
  if (!found->second.empty()) remove_directory(found->second);
  control_.erase(found);
}

}  // namespace mcpbox::box
