#include "box/init/mounted_use.h"

#include <algorithm>

namespace mcpbox::box::init {
namespace {

std::uint64_t without(std::uint64_t from, std::uint64_t what) {
  return from - std::min(from, what);
}

std::uint64_t bytes_on(const TreeUse& use, std::uint64_t device) {
  const auto found = use.on.find(device);
  return found == use.on.end() ? 0 : found->second;
}

}  // namespace

MountedUse::Part MountedUse::Part::after(const Amount& now, bool whole, std::uint64_t& written) const {
  const std::uint64_t rise = without(now.come, last.come), fall = without(last.come, now.come);
  const std::uint64_t lost = without(last.own, now.own);
  // Removed from its own folders and held open it is its as before, and nobody writes it again.
  const std::uint64_t moved = whole ? std::min(lost + went, without(now.held, last.held)) : 0;
  const std::uint64_t open = rise + without(came, fall);
  const std::uint64_t kept = std::min(open, moved), new_ones = std::min(open - kept, written);
  written -= new_ones;
  const std::uint64_t counted = kept + new_ones;
  return {now, without(its, fall) + counted, std::min(rise, open - counted), std::min(lost, lost + went - moved)};
}

MountedUse::Parts MountedUse::after(const Seen& seen) const {
  Parts parts = parts_;
  for (const TreeUse* use : {&seen.mounted, &seen.held, &seen.own}) {
    for (const auto& [device, bytes] : use->on) parts.bytes.try_emplace(device);
  }
  const std::uint64_t written = without(seen.wrote, wrote_);
  std::uint64_t left = written;
  for (auto& [device, part] : parts.bytes) {
    const std::uint64_t held = bytes_on(seen.held, device);
    const std::uint64_t come = without(bytes_on(seen.mounted, device) + held, bytes_on(seen.before, device));
    part = part.after({come, held, bytes_on(seen.own, device)}, seen.whole, left);
  }
  std::uint64_t files = written / kFileWritten;
  const std::uint64_t come = without(seen.mounted.files + seen.held.files, seen.before.files);
  parts.files = parts.files.after({come, seen.held.files, seen.own.files}, seen.whole, files);
  return parts;
}

TreeUse MountedUse::use(const Seen& seen) const {
  const Parts parts = after(seen);
  TreeUse use;
  for (const auto& [device, part] : parts.bytes) use.add(device, part.its);
  use.files = parts.files.its;
  return use;
}

void MountedUse::walked(const Seen& seen) {
  parts_ = after(seen);
  wrote_ = std::max(wrote_, seen.wrote);
}

}  // namespace mcpbox::box::init
