// What a server has in mounted folders, in which others write as well. No I/O and no clock.
//
// Decided from walk to walk: of what came there since the last one it is the server's as far as its processes wrote
// that much since then. What they wrote long before, to whatever, makes nothing theirs that somebody else puts there
// now. What is taken away there is taken off what they have.
#pragma once

#include <cstdint>
#include <map>

#include "box/init/disk_gauge.h"

namespace mcpbox::box::init {

class MountedUse {
 public:
  struct Seen {
    TreeUse mounted, before;  // in mounted folders, now and at the start
    TreeUse held;             // files without a name that its processes have open, wherever they had one
    TreeUse own;              // in its own folders, where all is its
    std::uint64_t wrote = 0;  // bytes, by the processes that live
    bool whole = true;        // else the walk is under way
  };
  // What counts of `mounted` and `held`. Of a walk under way, which saw less, no more than when it ends.
  TreeUse use(const Seen& seen) const;
  // The walk is done.
  void walked(const Seen& seen);

  static constexpr std::uint64_t kFileWritten = 512;  // so many bytes must they have written for each file

 private:
  struct Amount {
    std::uint64_t come = 0, held = 0, own = 0;
  };
  struct Part {
    Amount last;
    std::uint64_t its = 0;
    // Came, or went from its own folders, in the last walk, and is not accounted for: one walk asks at first who wrote
    // and what is held, and looks at the folders then.
    std::uint64_t came = 0, went = 0;

    // Takes what it counts off what was `written`.
    Part after(const Amount& now, bool whole, std::uint64_t& written) const;
  };
  struct Parts {
    std::map<std::uint64_t, Part> bytes;  // by file system
    Part files;
  };
  Parts after(const Seen& seen) const;

  Parts parts_;
  // The most of all walks: of a process that was not seen for a walk nothing counts twice.
  std::uint64_t wrote_ = 0;
};

}  // namespace mcpbox::box::init
