// What `mcpbox-init --build` is told: the whole sandbox as plain data, decided by mcpbox and carried out by
// mcpbox-init.
//
// Travels once, over a pipe, from mcpbox to the program of the same build; encoded with fields.h, version first.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "box/wire/messages.h"

namespace mcpbox::box::wire {

inline constexpr std::uint32_t kBuildVersion = 6;
inline constexpr std::size_t kMaxBuildSpec = 1024 * 1024;  // of the encoded form

// `count` ids from `inside` on stand for those from `outside` on (user_namespaces(7)).
struct IdRange {
  std::uint32_t inside = 0;
  std::uint32_t outside = 0;
  std::uint32_t count = 0;
  bool operator==(const IdRange&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.inside), v(s.outside), v(s.count);
  }
};

// One entry of the sandbox's tree; made in order, parents as needed (0755, root's).
struct BuildNode {
  enum class Kind : std::uint8_t {
    kDirectory = 0,
    kLink = 1,    // source = where it points
    kFile = 2,    // source = content, 0444
    kBind = 3,    // source = absolute host path without symbolic links; with everything mounted below it
    kMemory = 4,  // a memory file system
    kDevice = 5,  // source = a device node of the host
  };
  Kind kind = Kind::kDirectory;
  std::string target;  // absolute, normal
  std::string source;
  bool read_only = true;
  bool executable = true;  // kMemory
  bool take = false;       // kBind: the directory becomes the sandbox's root's
  bool judged = false;     // kBind: `source` must be the file of this device and inode
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size_bytes = 0;  // kMemory
  std::uint64_t inodes = 0;      // kMemory
  std::uint32_t mode = 0755;     // kDirectory, kMemory
  bool operator==(const BuildNode&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.kind), v(s.target), v(s.source), v(s.read_only), v(s.executable), v(s.take), v(s.judged), v(s.device),
        v(s.inode), v(s.size_bytes), v(s.inodes), v(s.mode);
  }
};

// What is written into a file of a server's own group, from its limits. What has no limit is not written.
struct GroupSetting {
  enum class Value : std::uint8_t {
    kMemory = 0,      // bytes
    kProcesses = 1,   // and those that are ours
    kQuota = 2,       // microseconds of processor time in kGroupPeriod
    kQuotaOfAll = 3,  // the same, and the period: "20000 100000"
    kZero = 4,        // these two with a limit of memory only
    kOne = 5,
  };
  Value value = Value::kZero;
  std::string file;
  bool operator==(const GroupSetting&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.value), v(s.file);
  }
};
inline constexpr std::uint64_t kGroupPeriod = 100'000;  // microseconds; of kernels' default

// A control group of the sandbox's own: made, filled in, and removed when the sandbox ends. PID 1 makes one for each
// server below it (init/server_groups.h).
struct BuildCgroup {
  std::string directory;
  std::vector<std::string> settings;  // "memory.max=1048576"
  std::string kills;                  // file with the line "oom_kill N"; empty = none
  std::string peak;                   // file with the most memory that was used; empty = none
  std::string usage;                  // file with the processor time that was used; empty = none
  std::string notify;   // file that takes "EVENTFD KILLS" and tells (version 1); empty = `kills` can be polled
  std::string idle;     // version 1: another for servers that are behind, with the same settings; empty = none
  std::string pass_on;  // version 2: what is written into cgroup.subtree_control once PID 1 is in kGroupLeaf
  std::vector<GroupSetting> servers;  // of a server's group; empty: servers have none
  bool operator==(const BuildCgroup&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.directory), v(s.settings), v(s.kills), v(s.peak), v(s.usage), v(s.notify), v(s.idle), v(s.pass_on),
        v(s.servers);
  }
};
// Where PID 1 and its helpers are in version 2: a group with groups below it has no processes (cgroups(7)).
inline constexpr const char* kGroupLeaf = "leaf";

struct BuildSpec {
  std::uint32_t version = kBuildVersion;
  std::string directory;  // of the sandbox; made by mcpbox-init, must not exist
  std::string record;     // content of <directory>/record, for mcpbox alone
  std::vector<IdRange> uids;
  std::vector<IdRange> gids;
  std::string newuidmap;  // path of the helper; empty = we may write the maps ourselves
  std::string newgidmap;
  std::vector<BuildNode> nodes;
  std::vector<BuildCgroup> cgroups;
  // Names below <directory>/scratch, made before and removed with all content afterwards.
  std::vector<std::string> scratch;
  std::vector<std::string> argv;   // of the supervisor; empty = nothing is built, only `sweep` is done
  std::vector<std::string> sweep;  // trees to remove, with whatever ids of the sandbox own what is in them
  std::uint64_t processes = 0;     // RLIMIT_NPROC of each of its uids
  std::uint32_t payer = 0;  // user id of the host that owns the namespaces, whose counters the kernel charges; 0: ours
  bool one_id = false;      // the maps have one id each; PID 1 is told with --one-id
  bool remove_on_exit = false;  // the directory goes when PID 1 ends
  bool operator==(const BuildSpec&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.version), v(s.directory), v(s.record), v(s.uids), v(s.gids), v(s.newuidmap), v(s.newgidmap), v(s.nodes),
        v(s.cgroups);
    v(s.scratch), v(s.argv), v(s.sweep), v(s.processes), v(s.payer), v(s.one_id), v(s.remove_on_exit);
  }
};

// What comes back, once, on the second pipe.
struct BuildReply {
  bool made = false;
  ErrorReply error;  // unless made
  bool operator==(const BuildReply&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.made), v(s.error);
  }
};

}  // namespace mcpbox::box::wire
