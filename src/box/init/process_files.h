// What the processes of one user have open of files without a name, and what they wrote: a part at a time.
//
// A file that was removed takes its space until the last descriptor of it is closed, and no walk of folders meets it.
// Not seen: one that is only mapped, or only under way through a socket.
//
// The caller's effective user and group are theirs: only then does the kernel show what they have open (ptrace(2),
// "Ptrace access mode checking"). What it does not show counts as nothing.
#pragma once

#include <dirent.h>
#include <sys/types.h>

#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "box/init/disk_gauge.h"

namespace mcpbox::box::init {

class ProcessFiles {
 public:
  // On these file systems.
  ProcessFiles(uid_t uid, std::vector<dev_t> devices);
  // Looks at `entries` more, processes and descriptors. False when all was seen.
  bool step(unsigned entries);
  const TreeUse& use() const { return use_; }
  // Bytes that they, and those of their children that have ended, wrote to disks (proc_pid_io(5)), or would have.
  std::uint64_t wrote() const { return wrote_; }

  // More are not told apart, and do not count.
  static constexpr std::size_t kMostFiles = 1'000'000;

 private:
  struct Closer {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  void enter(const char* pid);
  void count(const char* descriptor);

  uid_t uid_;
  std::vector<dev_t> devices_;
  std::unique_ptr<DIR, Closer> processes_, descriptors_;
  std::set<std::pair<dev_t, std::uint64_t>> seen_;
  TreeUse use_;
  std::uint64_t wrote_ = 0;
};

}  // namespace mcpbox::box::init
