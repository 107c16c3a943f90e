// Walks a host folder that is to be staged, without ever leaving it, and hands what it finds to a sink.
//
// Everything is opened beneath the folder, through no link and on no other mount. Directories, regular files and links
// that stay inside are handed over; of a mode only "executable or not". Blocking: run it on a pool thread.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mcpbox::workspace {

struct StageLimits {
  std::uint64_t entries = 50'000;
  std::uint64_t bytes = 1ull << 30;  // apparent and real
  std::uint64_t file_bytes = 512ull << 20;
  unsigned depth = 32;  // of folders below the root; never more than 63
};

struct StageRules {
  bool defaults = true;             // leave out .git, __pycache__, .venv, node_modules … (workspace/ignore.h)
  std::vector<std::string> denied;  // Policy::denied
  std::string home;                 // Policy::home
  // Files that never go in, whatever an ignore file says: what the configuration reads secrets from, and itself. By
  // identity, so under any name.
  std::vector<std::string> secret_files;
  std::vector<std::string> covered;  // Root::covered
};

// What tells a file that was not touched since it was last looked at from one that was: contents cannot change without
// the change time, which no owner can set back.
struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  std::uint32_t mode = 0;
  bool executable() const { return (mode & 0111) != 0; }
  bool operator==(const FileStamp&) const = default;
};
FileStamp stamp_of(const struct stat& status);

// Receives the tree in pre-order; a directory comes before its content. Paths are relative to the root; siblings come
// in byte order. An error stops the walk and is returned from it.
class WalkSink {
 public:
  virtual ~WalkSink() = default;
  // True when a second file() of the path that was given last replaces the first. Then a file that changed while it was
  // read is read once more; else the walk ends with kAborted at once, and the caller starts over.
  virtual bool replaces_files() const { return false; }
  virtual Result<void> directory(std::string_view path) = 0;
  // Asked before a file is opened. True: the sink has it already, took note of it, and file() is not called.
  virtual bool unchanged(std::string_view path, const FileStamp& stamp) {
    (void)path, (void)stamp;
    return false;
  }
  // `fd` is open for reading at offset 0 and closed by the walk afterwards; exactly `size` bytes are to be read. A file
  // that shrank meanwhile is padded by nothing: return kAborted.
  virtual Result<void> file(std::string_view path, std::uint64_t size, bool executable, int fd) = 0;
  virtual Result<void> symlink(std::string_view path, std::string_view target) = 0;
};

struct StageReport {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  struct Skipped {
    std::string path;
    std::string reason;  // "FIFO", "link that leaves the folder", "ignored by .mcpboxignore", "credentials"
  };
  std::vector<Skipped> skipped;     // at most 200 named,
  std::uint64_t skipped_total = 0;  // all counted
  // Left behind for its name (secret_names.h), and ".env" files that went in: for a line that says so.
  struct Named {
    std::vector<std::string> first;  // at most 8
    std::uint64_t total = 0;
  };
  Named secrets, environments;
};

// `host` is a canonical absolute path; a link in it is refused. It must lie beneath one of `allowed_roots` (compared by
// identity), and must neither be nor contain a denied place (`/`, home directories, /etc, engine and credential folders
// …): kPermissionDenied says which. kResourceExhausted names the quota and what was counted, or
// says that the ignore files take more than a few seconds to compare. kAborted: a file changed
// while it was read; walking once more usually helps. `stop` set to true ends the walk with kCancelled. A link is
// handed over only when its target is relative, has ".." only in front, and stays in the folder.
Result<StageReport> walk(const std::string& host, const std::vector<std::string>& allowed_roots,
                         const StageLimits& limits, WalkSink& sink, const std::atomic<bool>* stop = nullptr,
                         const StageRules& rules = {});

// The same folder by the same rules, opened (O_PATH), for who works beneath it.
Result<UniqueFd> open_stage_root(const std::string& host, const std::vector<std::string>& allowed_roots,
                                 const StageRules& rules);

}  // namespace mcpbox::workspace
