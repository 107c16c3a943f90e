// Part of disk_watch.h: what the walker does.
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/fsuid.h>
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

#include "box/init/disk_watch.h"
#include "box/init/one_id.h"
#include "box/init/run_as.h"
#include "box/init/seccomp_filter.h"
#include "box/init/tree_walk.h"

namespace mcpbox::box::init {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTick{100};
constexpr unsigned kStep = 2000;                // entries; some milliseconds
constexpr std::uint64_t kGrowth = 16ull << 20;  // less is nobody's fault that a disk is full
constexpr std::size_t kMaxOrder = 256 << 10;    // more than a socket takes

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

struct Watch {
  explicit Watch(WalkOrder what) : order(std::move(what)), gauge(order.limits) {}

  WalkOrder order;
  DiskGauge gauge;
  std::vector<Device> devices;
  std::unique_ptr<TreeWalk> own, mounted;
  FreeSpace free_then;
  Clock::duration worked{0};
  std::optional<TreeUse> before;  // what mounted folders had at the start
};

// For the file system only, as long as it lives.
class AsUser {
 public:
  explicit AsUser(const WalkOrder& order) {
    if (one_id()) return;
    ::setfsgid(order.gid);
    ::setfsuid(order.uid);
  }
  ~AsUser() {
    if (one_id()) return;
    ::setfsuid(0);
    ::setfsgid(0);
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

class Walker {
 public:
  explicit Walker(int link) : link_(link) {}
  void run();

 private:
  bool take_orders();
  void begin(Watch& watch, const WalkOrder& order);
  void look_at_devices(const Watch& watch, State& state);
  bool work();  // whether there is more to do at once
  void finish(Watch& watch, Clock::time_point now);
  void mind_the_floor(Clock::time_point now);
  void tell(const Watch& watch, const wire::PassedLimit& passed) const;

  int link_;
  std::vector<std::pair<dev_t, State>> looked_;  // in this turn: servers mostly share their file systems
  std::string packet_;
  std::map<std::uint32_t, Watch> watches_;
  std::optional<Clock::time_point> low_since_, ended_;
};

bool Walker::take_orders() {
  if (packet_.empty()) packet_.resize(kMaxOrder);
  ssize_t got = 0;
  while ((got = ::recv(link_, packet_.data(), packet_.size(), MSG_DONTWAIT)) > 0) {
    wire::Decoder decoder(std::string_view(packet_).substr(0, static_cast<std::size_t>(got)));
    WalkOrder order;
    decoder(order);
    if (!decoder.done()) return false;
    watches_.erase(order.uid);
    if (!order.limits.own.empty() || !order.limits.mounted.empty()) {
      Watch& watch = watches_.emplace(order.uid, Watch(order)).first->second;
      begin(watch, order);
    }
  }
  return got < 0 && (errno == EAGAIN || errno == EINTR);
}

void Walker::begin(Watch& watch, const WalkOrder& order) {
  const AsUser user(order);
  for (const auto* list : {&order.limits.own, &order.limits.mounted}) {
    for (const std::string& path : *list) {
      UniqueFd folder = open_folder(path, false);
      struct stat info{};
      if (!folder || ::fstat(folder.get(), &info) != 0) continue;
      if (std::ranges::any_of(watch.devices, [&](const Device& one) { return one.number == info.st_dev; })) continue;
      watch.devices.push_back({info.st_dev, std::move(folder)});
    }
  }
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

bool Walker::work() {
  bool more = false;
  for (auto& [uid, watch] : watches_) {
    const auto now = Clock::now();
    if (!watch.own) {
      State state;
      look_at_devices(watch, state);
      if (!watch.gauge.due(state.free, state.low, now)) continue;
      watch.own = std::make_unique<TreeWalk>(watch.order.limits.own, true);
      watch.mounted = std::make_unique<TreeWalk>(watch.order.limits.mounted, false);
      watch.free_then = state.free;
      watch.worked = {};
    }
    bool unfinished = false;
    {
      const AsUser user(watch.order);
      unfinished = watch.own->step(kStep) || watch.mounted->step(kStep);
    }
    const auto then = Clock::now();
    watch.worked += then - now;
    if (unfinished) {
      more = true;
      if (const auto passed = watch.gauge.passed(watch.own->use(), then)) tell(watch, *passed);
    } else {
      finish(watch, then);
    }
  }
  return more;
}

void Walker::finish(Watch& watch, Clock::time_point now) {
  TreeUse use = watch.own->use();
  const TreeUse& mounted = watch.mounted->use();
  if (!watch.before) watch.before = mounted;
  use.bytes += mounted.bytes > watch.before->bytes ? mounted.bytes - watch.before->bytes : 0;
  use.files += mounted.files > watch.before->files ? mounted.files - watch.before->files : 0;
  watch.own.reset();
  watch.mounted.reset();
  watch.gauge.walked(use, watch.free_then, watch.worked, now);
  if (const auto passed = watch.gauge.passed(use, now)) tell(watch, *passed);
}

// Whoever grew most since it is low, once each was looked at.
void Walker::mind_the_floor(Clock::time_point now) {
  const Watch* culprit = nullptr;
  std::uint64_t most = kGrowth, bound = 0;
  bool low = false, all = true;
  for (auto& [uid, watch] : watches_) {
    State state;
    look_at_devices(watch, state);
    if (!state.low) continue;
    low = true;
    if (!low_since_) low_since_ = now;
    all = all && watch.gauge.last_walk() && *watch.gauge.last_walk() >= *low_since_;
    if (const std::uint64_t grown = watch.gauge.grown(now); grown >= most)
      culprit = &watch, most = grown, bound = state.floor;
  }
  if (!low) low_since_.reset();
  if (!low || !all || culprit == nullptr || (ended_ && now - *ended_ < DiskGauge::kAgain)) return;
  ended_ = now;
  low_since_.reset();
  tell(*culprit, {wire::LimitKind::kFloor, bound, most});
}

void Walker::tell(const Watch& watch, const wire::PassedLimit& passed) const {
  wire::Encoder encoder;
  encoder(WalkNews{watch.order.uid, passed});
  const std::string bytes = encoder.take();
  (void)::send(link_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void Walker::run() {
  while (true) {
    looked_.clear();
    const auto began = Clock::now();
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

void walk_for(int link) {
  if (!confine_walker()) return;
  Walker(link).run();
}

}  // namespace mcpbox::box::init
