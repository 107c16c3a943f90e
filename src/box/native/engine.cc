#include "box/native/engine.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>

#include "base/digest.h"
#include "base/errno_error.h"
#include "base/log.h"
#include "base/text.h"
#include "box/bind_equipment.h"
#include "box/native/builder.h"
#include "box/native/cgroups.h"
#include "box/native/disk_bounds.h"
#include "box/native/host_system.h"
#include "box/native/ids.h"
#include "box/native/layout.h"
#include "box/native/owners.h"
#include "box/native/record.h"
#include "box/sandbox_spec.h"
#include "net/adopt.h"
#include "net/uninterrupted.h"
#include "net/wait.h"
#include "sys/process_name.h"
#include "sys/small_file.h"

namespace mcpbox::box {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kEnding{15};

Result<void> make_directories(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail(errno_error(error.value(), fmt::format("cannot make {}", path)));
  if (::chmod(path.c_str(), 0700) != 0) return fail(errno_error(errno, path));
  return {};
}

class NativeEngine final : public Engine {
 public:
  NativeEngine(asio::any_io_executor executor, NativeOptions options)
      : executor_(executor),
        options_(std::move(options)),
        base_(options_.state_dir + "/native"),
        sandboxes_(base_ + "/sandboxes"),
        volumes_(base_ + "/volumes"),
        bounds_(base_),
        changed_(std::make_shared<net::Signal>(executor)) {}

  Task<Result<EngineInfo>> probe() override {
    utsname system{};
    ::uname(&system);
    auto ids = native_ids({}, options_.only_one_id);
    if (!ids) co_return fail(std::move(ids).error());
    if (const std::string hint = namespace_hint(); !hint.empty())
      co_return fail(Code::kUnavailable, "the native engine cannot work: " + hint);
    EngineInfo info;
    info.kind = "native";
    info.version = system.release;
    info.address = "native";
    info.operating_system = host_system_name();
    info.rootless = ::geteuid() != 0;
    info.user_namespace = true;
    info.summary = fmt::format("native, Linux {}, {}", info.version, info.rootless ? "as an ordinary user" : "as root");
    info.traits.has_images = false;
    info.traits.uids = ids->servers;
    info.traits.one_server_per_sandbox = ids->one;
    if (ids->one) {
      info.warnings.push_back(
          fmt::format("every server gets a sandbox of its own, and to the kernel it is this user: {}", ids->why_one));
    }
    info.traits.tools.path = options_.tool_path;
    for (const auto& [source, target] : options_.tools) info.traits.tools.folders.push_back(target);
    const CgroupHost& host = cgroup_host();
    info.cgroup_version = host.version;
    if (!host.problem.empty()) {
      info.warnings.push_back(
          fmt::format("{}: there no limit of box.limits holds for a sandbox as a whole, only those of each server do",
                      host.problem));
    }
    info.disk_limits = bounds_.describe();
    co_return info;
  }

  Task<Result<SandboxState>> create(SandboxSpec spec) override {
    auto control = equipment_.prepare(spec);
    if (!control) co_return fail(std::move(control).error());
    std::string made_id;
    auto plan = plan_sandbox(spec, made_id);
    if (!plan) co_return fail(std::move(plan).error());
    const auto undo = [&](const Error& why) -> Task<void> {
      // Somebody else's then. Of what the builder took back itself there is no record.
      if (why.code() == Code::kAlreadyExists) co_return;
      if (auto ended = co_await end(made_id, Builder::kOver); !ended)
        log::warning("engine", "the unfinished sandbox {} could not be removed: {}", spec.name,
                     ended.error().message());
    };
    auto made = co_await net::undone_unless_done(build(std::move(*plan), spec.name), undo);
    if (made) equipment_.made(std::move(*control), made->id);
    co_return made;
  }

  Task<Result<SandboxState>> inspect(std::string id) override {
    auto found = find(id);
    // How it ended is what its keeper writes down last. It may have gone between the look and the wait: then the second
    // look says what the first one was too early for.
    if (found && !found->state.running && !found->state.exit_code) {
      const auto gone = co_await wait_for_end(found->keeper, Clock::now() + kEnding);
      if (!gone) co_return fail(gone.error());
      found = find(id);
    }
    if (!found) co_return fail(std::move(found).error());
    co_return found->state;
  }

  Task<Result<std::vector<SandboxState>>> list(Labels labels) override {
    auto found = read_sandboxes(sandboxes_);
    if (!found) co_return fail(std::move(found).error());
    std::vector<SandboxState> out;
    for (NativeSandbox& sandbox : *found) {
      if (labels_match(labels, sandbox.state.labels)) out.push_back(std::move(sandbox.state));
    }
    co_return out;
  }

  Task<Result<std::unique_ptr<Supervisor>>> dial(SandboxState state, std::chrono::milliseconds timeout) override {
    return equipment_.dial(executor_, std::move(state), timeout);
  }

  Task<Result<void>> remove(std::string id) override {
    if (const auto found = find(id)) equipment_.learn(found->state);
    auto removed = co_await end(id);
    if (removed) equipment_.removed(id), co_await bounds_.tidy();
    co_return removed;
  }

  Task<Result<std::shared_ptr<DiskBound>>> bound_disk(DiskShare share) override {
    auto found = find(share.sandbox);
    if (!found) co_return fail(std::move(found).error());
    co_return co_await bounds_.bound(std::move(share), std::move(found->record.places));
  }

  Task<Result<GroupOfServers>> group_of_servers(SandboxState) override { co_return groups_since_built(cgroup_host()); }
  Task<Result<void>> ensure_volume(std::string name, Labels labels) override {
    if (!is_volume_name(name))
      co_return fail(Code::kInvalidArgument, fmt::format("'{}' is not the name of a volume", printable(name, 200)));
    const std::string path = volumes_ + "/" + name;
    if (::access((path + "/data").c_str(), F_OK) == 0) co_return Result<void>{};
    if (auto made = make_directories(volumes_); !made) co_return made;
    // Made beside and renamed, so that there is never half a volume.
    const std::string fresh = fmt::format("{}/.new-{}", volumes_, random_hex(8));
    if (auto made = make_directories(fresh); !made) co_return made;
    auto written = sys::replace_file(fresh + "/labels", write_labels(labels));
    if (written && (::mkdir((fresh + "/data").c_str(), 0711) != 0 || ::chmod((fresh + "/data").c_str(), 0711) != 0)) {
      written = fail(errno_error(errno, fresh));
    }
    if (written && ::rename(fresh.c_str(), path.c_str()) != 0) {
      // Somebody else has just made it, or its removal was broken off: then it gets `data` again.
      const bool there =
          (errno == EEXIST || errno == ENOTEMPTY) && (::renameat2(AT_FDCWD, (fresh + "/data").c_str(), AT_FDCWD,
                                                                  (path + "/data").c_str(), RENAME_NOREPLACE) == 0 ||
                                                      errno == EEXIST);
      if (!there) written = fail(errno_error(errno, path));
    }
    std::error_code ignored;
    fs::remove_all(fresh, ignored);
    co_return written;
  }

  Task<Result<std::vector<std::string>>> list_volumes(Labels labels) override {
    std::vector<std::string> out;
    std::error_code error;
    for (fs::directory_iterator at(volumes_, error), end; !error && at != end; at.increment(error)) {
      const std::string name = at->path().filename().string();
      if (!is_volume_name(name)) continue;
      const auto text = sys::read_file(at->path().string() + "/labels");
      if (!text && text.error().code() != Code::kNotFound) co_return fail(text.error());
      const auto found = text ? read_labels(*text) : std::nullopt;
      if (found && labels_match(labels, *found)) out.push_back(name);
    }
    if (error && error != std::errc::no_such_file_or_directory)
      co_return fail(errno_error(error.value(), "cannot read " + printable(volumes_)));
    std::ranges::sort(out);
    co_return out;
  }

  Task<Result<void>> remove_volume(std::string name) override {
    if (!is_volume_name(name))
      co_return fail(Code::kInvalidArgument, fmt::format("'{}' is not the name of a volume", printable(name, 200)));
    auto sandboxes = read_sandboxes(sandboxes_);
    if (!sandboxes) co_return fail(std::move(sandboxes).error());
    for (const NativeSandbox& sandbox : *sandboxes) {
      const bool used = sandbox.state.running || being_made(sandbox);
      if (used && std::ranges::find(sandbox.record.volumes, name) != sandbox.record.volumes.end()) {
        co_return fail(Code::kFailedPrecondition,
                       fmt::format("the volume {} is used by the sandbox {}", name, sandbox.record.name));
      }
    }
    const std::string path = volumes_ + "/" + name;
    if (!may_be_there(path)) co_return Result<void>{};
    auto swept = co_await sweep_trees({path});
    if (swept) co_await bounds_.tidy();
    co_return swept;
  }

  Task<Result<ImageInfo>> image(std::string reference) override { co_return native_image(reference, options_.tools); }
  Task<Result<std::vector<ImageInfo>>> images(Labels) override { co_return std::vector<ImageInfo>{}; }
  Task<Result<ImageInfo>> pull(std::string, Progress) override { co_return no_images(); }

 private:
  static std::unexpected<Error> no_images() {
    return fail(Code::kUnsupported,
                "the native engine has no images: it shows sandboxes this machine's own system; use a "
                "Docker-compatible engine for images");
  }

  const CgroupHost& cgroup_host() {
    if (!cgroups_) cgroups_ = prepare_cgroups(options_.cgroup_root);
    return *cgroups_;
  }

  // `id` becomes the one that the sandbox will have.
  Result<wire::BuildSpec> plan_sandbox(SandboxSpec& spec, std::string& id) {
    const bool rootfs = spec.profile.image.starts_with('/');
    SandboxSpec checked = spec;
    checked.profile.image = "host";
    if (auto fine = check_sandbox_spec(checked); !fine) return fail(std::move(fine).error());
    if (!rootfs && !spec.profile.image.empty() && !spec.profile.image.starts_with("host")) return no_images();
    if (auto made = make_directories(sandboxes_); !made) return fail(std::move(made).error());

    NativePlaces places;
    if (rootfs) places.rootfs = spec.profile.image;
    places.directory = sandboxes_ + "/" + spec.name;
    places.volumes = volumes_;
    places.tools = options_.tools;
    auto layout = native_layout(spec, places);
    if (!layout) return fail(std::move(layout).error());
    auto owners = owners_of(spec);
    if (!owners) return fail(std::move(owners).error());
    auto ids = native_ids(*owners, options_.only_one_id);
    if (!ids) return fail(std::move(ids).error());

    auto boot = sys::boot_id();
    if (!boot) return fail(std::move(boot).error());
    NativeRecord record;
    record.name = spec.name;
    record.id = fmt::format("{}.{}", spec.name, random_hex(4));
    record.boot = std::move(*boot);
    id = record.id;
    record.labels = spec.labels;
    record.labels["io.mcpbox.managed"] = "1";
    record.labels.emplace(kProfileLabel, spec.hash());
    record.volumes = layout->volumes;
    for (const wire::BuildNode& node : layout->nodes) {
      if (node.take) record.places[node.target] = node.source;
    }

    wire::BuildSpec build;
    build.directory = places.directory;
    build.uids = ids->uids;
    build.gids = ids->gids;
    build.newuidmap = ids->newuidmap;
    build.newgidmap = ids->newgidmap;
    build.nodes = std::move(layout->nodes);
    build.scratch = std::move(layout->scratch);
    build.cgroups = cgroups_for(options_.cgroup_root, cgroup_host(), record.id, spec.profile.limits);
    for (wire::BuildCgroup& group : build.cgroups) {
      // PID 1 of an ordinary user is another one outside, whom the groups do not belong to.
      if (spec.one_server || ::geteuid() != 0) group.servers.clear(), group.pass_on.clear(), group.idle.clear();
      record.cgroups.push_back(group.directory);
      if (!group.idle.empty()) record.cgroups.push_back(group.idle);
    }
    build.record = write_record(record);
    build.argv = spec.init_argv;
    if (::geteuid() == 0) build.payer = some_payer();
    build.one_id = ids->one;
    if (ids->one) build.argv.emplace_back("--one-id");
    build.argv.emplace_back("--spaces");
    build.processes = spec.profile.limits.processes;
    build.remove_on_exit = spec.remove_on_exit;
    return build;
  }

  Task<Result<SandboxState>> build(wire::BuildSpec plan, std::string name) {
    const std::string directory = plan.directory;
    auto built = co_await run_builder(options_.init_path, plan);
    if (!built && built.error().code() == Code::kAlreadyExists) {
      const auto free = co_await becomes_free(directory);
      if (!free) co_return fail(free.error());
      if (*free) built = co_await run_builder(options_.init_path, std::move(plan));
    }
    if (!built) {
      if (built.error().code() != Code::kAlreadyExists) co_return fail(std::move(built).error());
      co_return fail(Code::kAlreadyExists, fmt::format("a sandbox named {} exists already", name));
    }
    changed_->notify();
    auto made = read_sandbox(directory);
    // With remove_on_exit it may be over already.
    if (!made && made.error().code() == Code::kNotFound)
      co_return fail(Code::kUnavailable, fmt::format("the sandbox {} ended as soon as it was made", name));
    if (!made) co_return fail(std::move(made).error());
    co_return made->state;
  }

  Result<NativeSandbox> find(const std::string& id) {
    const std::size_t dot = id.rfind('.');
    const std::string name = id.substr(0, dot);
    const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
    if (dot == std::string::npos || name.empty() || name.size() > 63 || !std::ranges::all_of(name, fits)) {
      return fail(Code::kInvalidArgument, fmt::format("'{}' is not a sandbox id", printable(id, 80)));
    }
    auto found = read_sandbox(sandboxes_ + "/" + name);
    if (!found) return found;
    if (found->record.id != id) return fail(Code::kNotFound, fmt::format("no sandbox {}", id));
    return found;
  }

  // False only where that is known.
  // The record is there before PID 1 is. Nothing takes longer than that to be made.
  static bool being_made(const NativeSandbox& sandbox) {
    if (sandbox.keeper.pid != 0 || !sandbox.this_boot) return false;
    struct stat info{};
    if (::stat((sandbox.directory + "/record").c_str(), &info) != 0) return errno != ENOENT;
    return std::chrono::system_clock::now() - std::chrono::system_clock::from_time_t(info.st_mtim.tv_sec) <
           std::chrono::seconds(20);
  }

  // Notifies `changed` when the process ends, while this lives.
  class Watch {
   public:
    Watch(asio::any_io_executor executor, UniqueFd process, std::shared_ptr<net::Signal> changed)
        : descriptor_(std::make_shared<asio::posix::stream_descriptor>(std::move(executor))) {
      net::adopt(*descriptor_, std::move(process));
      descriptor_->async_wait(asio::posix::descriptor_base::wait_read,
                              [changed = std::move(changed)](const boost::system::error_code& error) {
                                if (!error) changed->notify();
                              });
    }
    ~Watch() {
      boost::system::error_code ignored;
      descriptor_->close(ignored);
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    bool ended() const {
      pollfd state{descriptor_->native_handle(), POLLIN, 0};
      return ::poll(&state, 1, 0) > 0;  // pidfd_open(2)
    }

   private:
    std::shared_ptr<asio::posix::stream_descriptor> descriptor_;
  };

  // True when the process has ended by then. An error when it cannot be watched: it may live.
  Task<Result<bool>> wait_for_end(NativeProcess process, Clock::time_point until) {
    auto handle = open_process(process);
    if (!handle) co_return fail(std::move(handle).error());
    if (!*handle) co_return true;
    const Watch watch(executor_, std::move(*handle), changed_);
    while (!watch.ended()) {
      if (Clock::now() >= until) co_return false;
      (void)co_await changed_->wait_until(until);
    }
    co_return true;
  }

  // False when it has ended.
  static Result<bool> kill_process(const NativeProcess& process) {
    auto handle = open_process(process);
    if (!handle) return fail(std::move(handle).error());
    if (!*handle) return false;
    if (::syscall(SYS_pidfd_send_signal, handle->get(), SIGKILL, nullptr, 0) == 0) return true;
    if (errno == ESRCH) return false;
    return fail(errno_error(errno, fmt::format("cannot kill process {}", process.pid)));
  }

  // Kills it and removes what is its own.
  enum class Builder : std::uint8_t { kMayWork, kOver };
  Task<Result<void>> end(std::string id, Builder builder = Builder::kMayWork) {
    auto found = find(id);
    if (!found) {
      if (found.error().code() == Code::kNotFound) co_return Result<void>{};
      co_return fail(std::move(found).error());
    }
    const auto until = Clock::now() + kEnding;
    // A sandbox that is being made right now is waited for.
    while (builder == Builder::kMayWork && being_made(*found) && Clock::now() < until) {
      co_await net::sleep_for(std::chrono::milliseconds(5));
      found = find(id);
      if (!found && found.error().code() == Code::kNotFound) co_return Result<void>{};
      if (!found) co_return fail(std::move(found).error());
    }
    if (found->state.running) {
      if (auto killed = kill_process(found->first); !killed) co_return fail(std::move(killed).error());
    }
    // The keeper removes what was the sandbox's alone. One that hangs is killed, and we do its work.
    auto gone = co_await wait_for_end(found->keeper, until);
    if (gone && !*gone) {
      if (auto killed = kill_process(found->keeper); !killed) co_return fail(std::move(killed).error());
      gone = co_await wait_for_end(found->keeper, Clock::now() + kEnding);
    }
    if (gone && *gone) gone = co_await wait_for_end(found->first, Clock::now() + kEnding);
    if (!gone) co_return fail(std::move(gone).error());
    if (!*gone) co_return fail(Code::kTimeout, fmt::format("the sandbox {} does not end", found->record.name));
    co_return co_await sweep(std::move(*found));
  }

  // A keeper needs a moment to remove what had the name, and ends when it is done. False: the name stays taken. What
  // has no record that can be read for that long was cut off while it was made or removed: nobody else will remove it.
  Task<Result<bool>> becomes_free(std::string directory) {
    const auto until = Clock::now() + kEnding;
    while (may_be_there(directory)) {
      const bool over = Clock::now() >= until;
      auto there = read_sandbox(directory);
      if (!there && there.error().code() != Code::kNotFound && there.error().code() != Code::kDataLoss)
        co_return fail(std::move(there).error());
      if (!there && (over || unchanged_for(directory, kEnding))) {
        log::warning("engine", "{} is what a cut off start or removal left; it is removed", printable(directory));
        if (auto swept = co_await sweep_trees({directory}); !swept) co_return fail(std::move(swept).error());
        co_return !may_be_there(directory);
      }
      if (over) co_return false;
      if (!there) {  // in the middle of being made or removed
        co_await net::sleep_for(std::chrono::milliseconds(5));
        continue;
      }
      if (there->state.running) co_return false;
      const auto kept = open_process(there->keeper);
      if (!kept) co_return fail(kept.error());
      // What it has to remove is gone before it is: so the directory is looked at after its end.
      if (!*kept) co_return !may_be_there(directory);
      const auto gone = co_await wait_for_end(there->keeper, until);
      if (!gone || !*gone) co_return gone;
    }
    co_return true;
  }

  Task<Result<void>> sweep_trees(std::vector<std::string> trees) {
    auto ids = native_ids({}, options_.only_one_id);
    if (!ids) co_return fail(std::move(ids).error());
    wire::BuildSpec build;
    build.uids = ::geteuid() == 0 ? std::vector<wire::IdRange>{{0, 0, UINT32_MAX}}
                                  : ids->uids;  // as root whoever owns what is left
    build.gids = ::geteuid() == 0 ? build.uids : ids->gids;
    build.newuidmap = ids->newuidmap;
    build.newgidmap = ids->newgidmap;
    build.one_id = ids->one;
    build.sweep = std::move(trees);
    co_return co_await run_builder(options_.init_path, std::move(build), kSweepLimit);
  }

  // What is left of a sandbox whose processes are gone.
  Task<Result<void>> sweep(NativeSandbox sandbox) {
    for (const std::string& group : sandbox.record.cgroups) {
      const auto until = Clock::now() + std::chrono::seconds(2);
      while (group.starts_with(options_.cgroup_root + "/") && !remove_cgroup(group) && Clock::now() < until)
        co_await net::sleep_for(std::chrono::milliseconds(5));
    }
    if (!may_be_there(sandbox.directory)) co_return Result<void>{};
    co_return co_await sweep_trees({sandbox.directory});
  }

  asio::any_io_executor executor_;
  NativeOptions options_;
  std::string base_, sandboxes_, volumes_;
  std::optional<CgroupHost> cgroups_;
  BindEquipment equipment_;
  DiskBounds bounds_;
  std::shared_ptr<net::Signal> changed_;  // a sandbox was made or has ended
};

}  // namespace

std::unique_ptr<Engine> make_native_engine(asio::any_io_executor executor, NativeOptions options) {
  return std::make_unique<NativeEngine>(std::move(executor), std::move(options));
}

}  // namespace mcpbox::box
