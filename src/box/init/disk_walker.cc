// Part of disk_watch.h: what the walker does.
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "box/init/disk_floor.h"
#include "box/init/disk_watch.h"
#include "box/init/mounted_use.h"
#include "box/init/one_id.h"
#include "box/init/process_files.h"
#include "box/init/run_as.h"
#include "box/init/seccomp_filter.h"
#include "box/init/tree_walk.h"

namespace mcpbox::box::init {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTick{100};
constexpr unsigned kStep = 500;                  // entries; about a millisecond
constexpr std::size_t kMaxOrder = 256 << 10;     // more than a socket takes
constexpr std::uint64_t kManyFiles = 1'000'000;  // where there is no limit

struct Device {
  dev_t number = 0;
  UniqueFd folder;  // for fstatvfs(3)
};

// Of a file system, or of all that a server writes to.
struct State {
  FreeSpace free;
  std::uint64_t floor = 0;
  bool low = false;
};

// One look at all that a server has: first what its processes hold, then the folders.
struct Walk {
  Walk(const WalkOrder& order, std::vector<dev_t> devices, const FreeSpace& free)
      : files(order.uid, std::move(devices)),
        own(order.limits.own, true),
        mounted(order.limits.mounted, false, order.since),
        free_then(free) {}

  ProcessFiles files;
  TreeWalk own, mounted;
  FreeSpace free_then;
  Clock::duration worked{0};
};

struct Watch {
  explicit Watch(WalkOrder what) : order(std::move(what)), gauge(order.limits) {}

  WalkOrder order;
  DiskGauge gauge;
  std::vector<Device> devices;
  std::optional<Device> bound;  // by this folder a file system that holds the limits says what is left of them
  std::unique_ptr<Walk> walk;
  Clock::time_point rests_until;
  std::optional<TreeUse> before;  // what mounted folders had at the start
  MountedUse mounted;
};

// The effective ids, as long as it lives: those of which the kernel asks for files, and for what processes have open.
// Who may signal or trace us, it decides by the real ones. Who sets our priority or our processors must have all the
// capabilities that we are permitted, too (cap_safe_nice() of security/commoncap.c), and no server has any.
class AsUser {
 public:
  explicit AsUser(const WalkOrder& order) {
    if (one_id()) return;
    if (::setresgid(-1, order.gid, -1) != 0 || ::setresuid(-1, order.uid, -1) != 0) ::_exit(1);
  }
  ~AsUser() {
    if (one_id()) return;
    if (::setresuid(-1, 0, -1) != 0 || ::setresgid(-1, 0, -1) != 0) ::_exit(1);
  }
  AsUser(const AsUser&) = delete;
  AsUser& operator=(const AsUser&) = delete;
};

// Of PID 1's capabilities it keeps those that AsUser needs.
bool confine_walker() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct kept[2] = {};
  if (!one_id()) kept[0].effective = kept[0].permitted = (1u << CAP_SETUID) | (1u << CAP_SETGID);
  return ::syscall(SYS_capset, &header, kept) == 0 && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         install_seccomp_filter(build_seccomp_filter(Network::kShared)) == 0;
}

// The highest one above, on its file system: of a folder with a quota statvfs(3) tells that quota.
UniqueFd open_top(const std::string& path) {
  UniqueFd top = open_place(path);
  struct stat info{}, above{};
  if (!top || ::fstat(top.get(), &info) != 0) return {};
  for (std::size_t slash = path.rfind('/'); slash != 0 && slash != std::string::npos;
       slash = path.rfind('/', slash - 1)) {
    UniqueFd next = open_place(path.substr(0, slash));
    if (!next || ::fstat(next.get(), &above) != 0 || above.st_dev != info.st_dev) break;
    top = std::move(next);
  }
  return top;
}

// As if there were none where it cannot be told.
struct statvfs size_of(const UniqueFd& folder) {
  struct statvfs info{};
  if (::fstatvfs(folder.get(), &info) != 0) info = {};
  return info;
}

class Walker {
 public:
  explicit Walker(int link) : link_(link) {}
  void take(const WalkOrder& order);
  void run();

 private:
  bool take_orders();
  void look_at_devices(const Watch& watch, State& state);
  void look_at_bound(Watch& watch, Clock::time_point now);
  bool work();  // whether there is more to do at once
  bool step(Watch& watch);
  void finish(Watch& watch, Clock::time_point now);
  void mind_the_floor(Clock::time_point now);
  void tell(const Watch& watch, const wire::PassedLimit& passed) const;

  int link_;
  std::vector<std::pair<dev_t, State>> looked_;  // in this turn: servers mostly share their file systems
  std::string packet_;
  std::map<std::uint32_t, Watch> watches_;
  std::map<dev_t, DiskFloor> floors_;
};

bool Walker::take_orders() {
  if (packet_.empty()) packet_.resize(kMaxOrder);
  ssize_t got = 0;
  while ((got = ::recv(link_, packet_.data(), packet_.size(), MSG_DONTWAIT)) > 0) {
    wire::Decoder decoder(std::string_view(packet_).substr(0, static_cast<std::size_t>(got)));
    WalkOrder order;
    decoder(order);
    if (!decoder.done()) return false;
    take(order);
  }
  return got < 0 && (errno == EAGAIN || errno == EINTR);
}

void Walker::take(const WalkOrder& order) {
  watches_.erase(order.uid);
  if (order.limits.own.empty() && order.limits.mounted.empty()) return;
  Watch& watch = watches_.emplace(order.uid, Watch(order)).first->second;
  const AsUser user(order);
  struct stat info{};
  for (const auto* list : {&order.limits.own, &order.limits.mounted}) {
    for (const std::string& path : *list) {
      UniqueFd folder = open_top(path);
      if (!folder || ::fstat(folder.get(), &info) != 0) continue;
      const auto known = std::ranges::find(watch.devices, info.st_dev, &Device::number);
      if (known == watch.devices.end()) {
        watch.devices.push_back({info.st_dev, std::move(folder)});
      } else if (size_of(folder).f_blocks > size_of(known->folder).f_blocks) {
        known->folder = std::move(folder);
      }
    }
  }
  if (order.limits.own.empty()) return;
  UniqueFd last = open_place(order.limits.own.back());
  if (!last || ::fstat(last.get(), &info) != 0) return;
  const auto device = std::ranges::find(watch.devices, info.st_dev, &Device::number);
  if (device == watch.devices.end()) return;
  const struct statvfs part = size_of(last), whole = size_of(device->folder);
  if (part.f_blocks < whole.f_blocks || part.f_files < whole.f_files)
    watch.bound = Device{info.st_dev, std::move(last)};
}

State look_at(const Device& device) {
  State state;
  struct statvfs info{};
  if (::fstatvfs(device.folder.get(), &info) != 0) return state;
  state.free = {static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize, info.f_favail};
  state.floor = floor_of(static_cast<std::uint64_t>(info.f_blocks) * info.f_frsize);
  state.low = state.free.bytes < state.floor;
  return state;
}

void Walker::look_at_devices(const Watch& watch, State& state) {
  for (const Device& device : watch.devices) {
    auto found = std::ranges::find(looked_, device.number, &std::pair<dev_t, State>::first);
    if (found == looked_.end()) found = looked_.insert(looked_.end(), {device.number, look_at(device)});
    const State& one = found->second;
    state.free.bytes += one.free.bytes;
    state.free.files += one.free.files;
    if (one.low) state.low = true, state.floor = one.floor;
  }
}

void Walker::look_at_bound(Watch& watch, Clock::time_point now) {
  if (!watch.bound) return;
  const auto whole = std::ranges::find(looked_, watch.bound->number, &std::pair<dev_t, State>::first);
  if (whole == looked_.end()) return;
  const FreeSpace left = look_at(*watch.bound).free;
  if (const auto passed = watch.gauge.refused(left, whole->second.free, now)) tell(watch, *passed);
}

MountedUse::Seen seen_of(const Watch& watch, bool whole) {
  const Walk& walk = *watch.walk;
  const TreeUse come = watch.before ? walk.mounted.use() : walk.mounted.fresh();
  return {come, watch.before.value_or(TreeUse{}), walk.files.use(), walk.own.use(), walk.files.wrote(), whole};
}

// What counts by now.
TreeUse use_of(const Watch& watch, bool whole) {
  const Walk& walk = *watch.walk;
  TreeUse use = walk.own.use();
  use.add(watch.order.limits.mounted.empty() ? walk.files.use() : watch.mounted.use(seen_of(watch, whole)));
  return use;
}

// A folder in which more and more comes up is left in the end: others wait.
bool endless(const Watch& watch) {
  if (!watch.before) return false;
  const std::uint64_t limit = watch.order.limits.files != 0 ? watch.order.limits.files : kManyFiles;
  return watch.walk->mounted.use().files > watch.before->files + 2 * limit;
}

bool Walker::step(Watch& watch) {
  const AsUser user(watch.order);
  Walk& walk = *watch.walk;
  return walk.files.step(kStep) || walk.own.step(kStep) || (walk.mounted.step(kStep) && !endless(watch));
}

bool Walker::work() {
  bool more = false;
  for (auto& [uid, watch] : watches_) {
    const auto now = Clock::now();
    look_at_bound(watch, now);
    if (!watch.walk) {
      State state;
      look_at_devices(watch, state);
      if (now < watch.rests_until || !watch.gauge.due(state.free, state.low, now)) continue;
      std::vector<dev_t> devices;
      for (const Device& device : watch.devices) devices.push_back(device.number);
      watch.walk = std::make_unique<Walk>(watch.order, std::move(devices), state.free);
    }
    const bool unfinished = step(watch);
    const auto then = Clock::now();
    watch.walk->worked += then - now;
    if (unfinished) {
      more = true;
      if (const auto passed = watch.gauge.passed(use_of(watch, false), then)) tell(watch, *passed);
    } else if (watch.walk->own.starved() || watch.walk->mounted.starved()) {
      watch.walk.reset();
      watch.rests_until = then + kTick;
    } else {
      finish(watch, then);
    }
  }
  return more;
}

void Walker::finish(Watch& watch, Clock::time_point now) {
  const Walk& walk = *watch.walk;
  if (!watch.before) {
    watch.before = walk.mounted.use().beyond(walk.mounted.fresh());
  }
  const TreeUse use = use_of(watch, true);
  watch.mounted.walked(seen_of(watch, true));
  watch.gauge.walked(use, walk.free_then, walk.worked, now);
  watch.walk.reset();
  if (const auto passed = watch.gauge.passed(use, now)) tell(watch, *passed);
}

void Walker::mind_the_floor(Clock::time_point now) {
  std::map<dev_t, std::vector<DiskFloor::Server>> writers;
  for (const auto& [uid, watch] : watches_) {
    for (const Device& device : watch.devices)
      writers[device.number].push_back({uid, watch.gauge.grown(device.number, now), watch.gauge.last_walk()});
  }
  std::erase_if(floors_, [&](const auto& each) { return !writers.contains(each.first); });
  for (const auto& [number, servers] : writers) {
    const auto found = std::ranges::find(looked_, number, &std::pair<dev_t, State>::first);
    if (found == looked_.end()) continue;
    const State& state = found->second;
    const auto verdict = floors_[number].look(state.free.bytes, state.floor, servers, now);
    if (!verdict) continue;
    if (verdict->culprit) {
      tell(watches_.at(*verdict->culprit), {wire::LimitKind::kFloor, state.floor, verdict->grown});
    } else {
      ::dprintf(2,
                "mcpbox-init: a disk is nearly full and nobody is ended: servers grew by at most %llu MiB lately, and "
                "%llu MiB went elsewhere\n",
                static_cast<unsigned long long>(verdict->grown >> 20),
                static_cast<unsigned long long>(verdict->unexplained >> 20));
    }
  }
}

void Walker::tell(const Watch& watch, const wire::PassedLimit& passed) const {
  wire::Encoder encoder;
  encoder(WalkNews{watch.order.uid, passed, watch.order.serial});
  const std::string bytes = encoder.take();
  (void)::send(link_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void Walker::run() {
  while (true) {
    looked_.clear();
    const auto began = Clock::now();
    State all;
    for (const auto& [uid, watch] : watches_) look_at_devices(watch, all);
    const bool more = work();
    const auto now = Clock::now();
    mind_the_floor(now);
    // As long as it worked it rests.
    const auto rest = std::chrono::ceil<milliseconds>(now - began);
    pollfd ready{link_, POLLIN, 0};
    const int wait = watches_.empty() ? -1 : static_cast<int>((more ? std::min(rest, kTick) : kTick).count());
    if (::poll(&ready, 1, wait) < 0 && errno != EINTR) return;
    if (!take_orders()) return;
  }
}

}  // namespace

void walk_for(int link, const std::vector<WalkOrder>& orders) {
  if (!confine_walker()) return;
  Walker walker(link);
  for (const WalkOrder& order : orders) walker.take(order);
  walker.run();
}

}  // namespace mcpbox::box::init
