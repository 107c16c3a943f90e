// Walks a host folder that is to be staged, without ever leaving it, and hands what it finds to a sink.
//
// security.md §6.5: openat2 beneath, no links followed, no other mounts, types allowed: directory, regular file, symlink that stays
// inside. Modes are reduced to "executable or not". Blocking: run it on a pool thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mcpbox::workspace {

struct StageLimits {
  std::uint64_t entries = 50'000;
  std::uint64_t bytes = 1ull << 30;       // apparent and real
  std::uint64_t file_bytes = 512ull << 20;
  unsigned depth = 32;
};

// Receives the tree in pre-order; a directory comes before its content. Paths are relative to the root. An error stops the walk and is
// returned from it.
class StageSink {
 public:
  virtual ~StageSink() = default;
  virtual Result<void> directory(std::string_view path) = 0;
  // `fd` is open for reading at offset 0 and closed by the walk afterwards; exactly `size` bytes are to be read (a file that
  // shrank meanwhile is padded by nothing: return the error, the walk retries or reports kAborted).
  virtual Result<void> file(std::string_view path, std::uint64_t size, bool executable, int fd) = 0;
  virtual Result<void> symlink(std::string_view path, std::string_view target) = 0;
};

struct StageReport {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  struct Skipped {
    std::string path;
    std::string reason;  // "FIFO", "link that leaves the folder", "ignored by .mcpboxignore"
  };
  std::vector<Skipped> skipped;         // at most 200 named,
  std::uint64_t skipped_total = 0;      // all counted
};

// `host` must lie beneath one of `allowed_roots` (by identity) and contain or be none of the denied places (`/`, home directories,
// /etc, engine and credential folders …): kPermissionDenied says which. kResourceExhausted names the quota and what was counted.
// `stop` set to true ends the walk with kCancelled.
Result<StageReport> walk(const std::string& host, const std::vector<std::string>& allowed_roots, const StageLimits& limits, StageSink& sink,
                         const std::atomic<bool>* stop = nullptr);

}  // namespace mcpbox::workspace
