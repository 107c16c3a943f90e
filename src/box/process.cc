#include "box/process.h"

#include <fmt/format.h>
#include <string.h>

#include <algorithm>

#include "base/setting_name.h"
#include "base/text.h"
#include "box/wire/hidden_files.h"

namespace mcpbox::box {
namespace {

// Use rounded up and limits down: who passed a limit never reads that both are the same.
std::string mib(std::uint64_t bytes, bool up) {
  return grouped((bytes + (up ? (1u << 20) - 1 : 0)) >> 20);
}

struct LimitWords {
  const char* what;       // it used N …
  std::string_view name;  // of the limit, for who sets it
  const char* advice;     // what to look at besides
};

LimitWords words_of(LimitKind which) {
  switch (which) {
    case LimitKind::kMemory:
      return {"MiB of memory", setting_name("box.memory_mb", "--memory"), "find out what it needs it for"};
    case LimitKind::kProcesses:
      return {"processes and threads", setting_name("box.pids_limit", "--pids"), "find out what starts so many"};
    case LimitKind::kDisk:
      return {"MiB of disk", setting_name("box.disk_mb", "--disk"), "find out what it writes"};
    case LimitKind::kFiles:
      return {"files", setting_name("box.max_files", "--max-files"), "find out what it writes"};
    case LimitKind::kFloor:
    case LimitKind::kSandboxMemory:
    case LimitKind::kNone:
      break;
  }
  return {"", "", ""};
}

bool hides_files(const PassedLimit& limit) {
  return limit.which == LimitKind::kFiles && limit.use >= wire::kHiddenFiles;
}

}  // namespace

std::string ProcessExit::describe() const {
  if (refused) {
    ProcessExit by_itself = *this, at_its_limit = *this;
    by_itself.limit = {};
    by_itself.refused = at_its_limit.refused = false;
    return fmt::format("{}, after its file system had refused it more: {}", by_itself.describe(),
                       at_its_limit.describe());
  }
  if (hides_files(limit)) {
    return fmt::format(
        "it has a folder in which nobody can count, below {} others in each other or closed to its own user; its limit "
        "is {} files ({})",
        wire::kMaxFolderDepth, grouped(limit.bound), words_of(limit.which).name);
  }
  if (limit.which == LimitKind::kFloor) {
    return fmt::format("the disk was about to be full ({} MiB have to stay free), and it wrote most: {} MiB lately",
                       mib(limit.bound, false), mib(limit.use, true));
  }
  if (limit.which == LimitKind::kSandboxMemory) {
    return fmt::format(
        "the memory of its sandbox was nearly used up ({} MiB for all of its servers, "
        "box.limits.memory_mb), and it had most above its part: {} MiB",
        mib(limit.bound, false), mib(limit.use, true));
  }
  if (limit.which != LimitKind::kNone) {
    const LimitWords words = words_of(limit.which);
    const bool bytes = limit.which == LimitKind::kMemory || limit.which == LimitKind::kDisk;
    return fmt::format("it used {} {}, its limit is {} ({})", bytes ? mib(limit.use, true) : grouped(limit.use),
                       words.what, bytes ? mib(limit.bound, false) : grouped(limit.bound), words.name);
  }
  if (signal == 0) return fmt::format("exit code {}", code);
  const char* name = ::sigabbrev_np(signal);  // glibc 2.32
  std::string text =
      name != nullptr ? fmt::format("killed by SIG{}", name) : fmt::format("killed by signal {}", signal);
  if (killed_for_memory) text += " (out of memory)";
  return text;
}

std::string ProcessExit::advice() const {
  if (limit.which == LimitKind::kNone) return "";
  if (limit.which == LimitKind::kFloor)
    return fmt::format("free space on that file system, or lower {}", setting_name("box.disk_mb", "--disk"));
  if (limit.which == LimitKind::kSandboxMemory) {
    return "name what it needs as its box.memory_mb, give it a sandbox of its own (isolation: dedicated), or raise "
           "box.limits.memory_mb";
  }
  if (hides_files(limit)) return "find out what makes such folders";
  return fmt::format("raise the limit if it needs more, or {}", words_of(limit.which).advice);
}

std::string ProcessExit::sentence(std::string_view server) const {
  if (limit.which == LimitKind::kNone) return fmt::format("server '{}' ended: {}", server, describe());
  return fmt::format("server '{}' {}: {}; {}", server, refused ? "ended" : "was ended", describe(), advice());
}

std::string ProcessPressure::sentence(std::string_view server) const {
  return fmt::format(
      "server '{}' keeps {:.1f} processors busy, with {} processes and threads, and the other servers of its sandbox "
      "may "
      "have to wait; if it needs that much, give it a sandbox of its own (box.isolation: dedicated), else `mcpbox stop "
      "{}`",
      server, processors, grouped(tasks), server);
}

}  // namespace mcpbox::box
