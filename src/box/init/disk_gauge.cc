#include "box/init/disk_gauge.h"

#include <algorithm>

#include "box/wire/disk_room.h"

namespace mcpbox::box::init {
namespace {

constexpr std::uint64_t kByteStep = 1 << 20, kFileStep = 100;  // less is no reason for a walk
constexpr std::size_t kMaxSamples = 256;

// Whether what was lost could be half of what is left.
bool could_pass(std::uint64_t before, std::uint64_t now, std::uint64_t used, std::uint64_t limit, std::uint64_t step) {
  if (limit == 0 || now >= before) return false;
  const std::uint64_t left = limit > used ? limit - used : 0;
  return before - now >= std::max(left / 2, step);
}

// By how much somebody is beyond a limit whom the file system lets write so much more.
std::uint64_t beyond_limit(std::uint64_t left, std::uint64_t free, std::uint64_t room) {
  return left < room && free >= 2 * room ? room - left : 0;  // a full disk is everybody's
}

}  // namespace

void TreeUse::add(const TreeUse& more) {
  for (const auto& [device, bytes_there] : more.on) add(device, bytes_there);
  files += more.files;
}

TreeUse TreeUse::beyond(const TreeUse& other) const {
  TreeUse more;
  for (const auto& [device, now] : on) {
    const auto found = other.on.find(device);
    more.add(device, now - std::min(now, found == other.on.end() ? 0 : found->second));
  }
  more.files = files - std::min(files, other.files);
  return more;
}

bool DiskGauge::due(const FreeSpace& free, bool urgent, TimePoint now) const {
  if (disk_ == 0 && files_ == 0) return false;
  if (!last_walk_) return true;
  const Duration since = now - *last_walk_;
  if (since < std::max<Duration>(kFast, worked_ * 3)) return false;
  if (urgent || since >= kSlow) return true;
  if (growing_ && since >= kGrowing) return true;
  return could_pass(free_.bytes, free.bytes, last_.bytes, disk_, kByteStep) ||
         could_pass(free_.files, free.files, last_.files, files_, kFileStep);
}

void DiskGauge::walked(const TreeUse& use, const FreeSpace& free, Duration worked, TimePoint now) {
  growing_ = last_walk_ && (use.bytes > last_.bytes + kByteStep || use.files > last_.files + kFileStep);
  last_ = use;
  free_ = free;
  worked_ = worked;
  last_walk_ = now;
  samples_.push_back({now, use.on});
  // One from before the time in question stays, to measure from.
  while (samples_.size() > kMaxSamples || (samples_.size() > 1 && now - samples_[1].when >= kLately))
    samples_.pop_front();
}

std::optional<wire::PassedLimit> DiskGauge::passed(const TreeUse& use, TimePoint now) {
  if (passed_ && now - *passed_ < kAgain) return std::nullopt;
  wire::PassedLimit passed;
  if (disk_ != 0 && use.bytes > disk_) {
    passed = {wire::LimitKind::kDisk, disk_, use.bytes};
  } else if (files_ != 0 && use.files > files_) {
    passed = {wire::LimitKind::kFiles, files_, use.files};
  } else {
    return std::nullopt;
  }
  passed_ = now;
  return passed;
}

std::optional<wire::PassedLimit> DiskGauge::refused(const FreeSpace& left, const FreeSpace& free, TimePoint now) {
  TreeUse use;
  use.bytes = disk_ + beyond_limit(left.bytes, free.bytes, wire::kRoomBytes);
  use.files = files_ + beyond_limit(left.files, free.files, wire::kRoomFiles);
  return passed(use, now);
}

std::uint64_t DiskGauge::grown(std::uint64_t device, TimePoint now) const {
  if (samples_.empty() || now - samples_.back().when >= kLately) return 0;
  const auto there = [device](const Sample& sample) {
    const auto found = sample.on.find(device);
    return found == sample.on.end() ? 0 : found->second;
  };
  return there(samples_.back()) - there(*std::ranges::min_element(samples_, {}, there));
}

std::uint64_t floor_of(std::uint64_t size) {
  return std::min<std::uint64_t>(size / 20, 1 << 30);
}

}  // namespace mcpbox::box::init
