// What processes have of memory when each shared page counts once, as parts of it (Pss of proc_pid_smaps(5)).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "box/init/event_loop.h"
#include "box/init/memory_gauge.h"
#include "box/init/op.h"

namespace mcpbox::box::init {

struct LookRequest {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<pid_t> pids;     // those that are likely to have most first
  std::vector<dev_t> counted;  // memory file systems that count as a whole: what is mapped of them does not once more
  bool hidden = false;         // also what the kernel can have for them besides (hidden_memory.h)
  std::chrono::milliseconds time{};  // that it may take: an answer about those who were reached comes then
};

// Of the pids' own and shared memory; of as many of them as there was time for, and of one at least. For a helper
// (helper.h): it takes time for every page. Has uid and gid as its effective ones: only who is theirs, or made their
// user namespace, may read this; it stays out of reach for their signals. A process that cannot be read counts as
// nothing of it is shared; one that has ended, or is another user's by now, is left out.
Op<std::string> look_closely(const LookRequest& request);
// What it says, as it is handed on by a helper.
std::optional<LookedClosely> parse_look(const Op<std::string>& answer);

// What of a process's shared memory lies in these file systems, from the lines of its smaps.
class MappedFiles {
 public:
  explicit MappedFiles(const std::vector<dev_t>& devices) : devices_(devices) {}
  void line(const char* text);
  std::uint64_t bytes() const { return bytes_; }

 private:
  const std::vector<dev_t>& devices_;
  bool among_them_ = false;  // the mapping whose lines come
  std::uint64_t part_ = 0;   // of it
  std::uint64_t bytes_ = 0;
};

}  // namespace mcpbox::box::init
