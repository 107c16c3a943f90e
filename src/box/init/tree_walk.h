// Counts what lies below some folders, a part at a time, for who must not be held up by a large one.
//
// Does so with the rights of the folders' owner (the caller's file system uid), through no link and into no other file
// system, holding one descriptor for each level. A folder that its owner took the right to read from is read all the
// same, where it may be changed for a moment. Whoever takes it again and again while that is done hides something: it
// counts as one that is too deep. A file with several names counts its part with each.
#pragma once

#include <dirent.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "box/init/disk_gauge.h"
#include "box/wire/hidden_files.h"

namespace mcpbox::box::init {

// Through no link at all, as a place (O_PATH). Invalid where there is none.
UniqueFd open_place(const std::string& path);

class TreeWalk {
 public:
  // `force`: the modes of folders may be changed for a moment. `since`: nanoseconds since 1970; of what was made from
  // then on fresh() tells, where the file system knows (statx(2), STATX_BTIME).
  TreeWalk(std::vector<std::string> folders, bool force, std::uint64_t since = 0);
  // Looks at `entries` more. False when all was seen, or starved().
  bool step(unsigned entries);
  const TreeUse& use() const { return use_; }
  const TreeUse& fresh() const { return fresh_; }
  // There was no descriptor left: what was seen says nothing, walk again later.
  bool starved() const { return starved_; }

  // Deeper ones are not walked: each counts as more files than any limit allows, so that nothing can be hidden there.
  static constexpr std::size_t kMaxDepth = wire::kMaxFolderDepth;
  static constexpr std::uint64_t kTooDeep = wire::kHiddenFiles;

 private:
  struct Closer {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  struct Level {
    std::unique_ptr<DIR, Closer> directory;
    dev_t device;
  };
  bool enter(UniqueFd folder);
  bool next_folder();
  void count_hidden() { use_.files += kTooDeep; }
  void count(const char* name);

  std::vector<std::string> folders_;
  bool force_;
  std::uint64_t since_;
  std::size_t next_ = 0;
  std::vector<Level> levels_;
  TreeUse use_, fresh_;
  bool starved_ = false;
};

}  // namespace mcpbox::box::init
