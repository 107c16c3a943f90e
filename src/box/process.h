// What a managed process is given and how it ended. Plain data, shared by the supervisor link and everything above it.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

namespace mcpbox::box {

// Hard and soft limit alike (setrlimit(2)); absent = what the sandbox gives.
struct ProcessLimits {
  std::optional<std::uint64_t> processes = 256;            // RLIMIT_NPROC, counted per uid; threads count
  std::optional<std::uint64_t> open_files = 4096;          // RLIMIT_NOFILE
  std::optional<std::uint64_t> file_bytes = 512ull << 20;  // RLIMIT_FSIZE
  std::optional<std::uint64_t> core_bytes = 0;             // RLIMIT_CORE
  std::optional<std::uint64_t> data_bytes;                 // RLIMIT_DATA
};

// What a server may use as a whole, all its processes together; 0 = no limit. PID 1 of the sandbox counts it, and ends
// who passes a limit alone.
struct ServerLimits {
  // Of its processes' own and shared memory, page tables, and what lies in its own /tmp and /dev/shm.
  std::uint64_t memory_bytes = 0;
  // What all servers of the sandbox may use together (0 = as much as the sandbox has), and whether memory_bytes is this
  // one's part of it. Those of which it is not have equal parts of what is left. When the sandbox is about to run out
  // of memory, the one that is furthest above its part is ended.
  std::uint64_t memory_of_all = 0;
  bool memory_named = false;
  double cpus = 0;                   // processors; holds where the sandbox has control groups for its servers
  std::uint64_t processes = 0;       // and threads, in place of ProcessLimits::processes
  std::uint64_t disk_bytes = 0;      // in all of the folders below
  std::uint64_t files = 0;           // and folders, links and whatever else has a name there
  std::vector<std::string> own;      // folders that count with all that is in them
  std::vector<std::string> mounted;  // folders of the host: what they had at the start does not count
};

enum class LimitKind : std::uint8_t {
  kNone,
  kMemory,
  kProcesses,
  kDisk,
  kFiles,
  kFloor,          // the file system is nearly full, and it grew most
  kSandboxMemory,  // the sandbox is about to run out of memory, and it is furthest above its part
};
struct PassedLimit {
  LimitKind which = LimitKind::kNone;
  // bytes, or a count; with kFloor the free bytes that have to stay, with kSandboxMemory those of all servers together
  std::uint64_t bound = 0;
  std::uint64_t use = 0;  // the same; with kFloor the bytes by which it grew lately
};

// What the process may touch of the file system and of the loopback interface, enforced with Landlock where the kernel
// has it (ABI ≥ 1 files, ≥ 4 TCP, ≥ 6 scopes). The read-only system (/usr, /lib*, /bin, /sbin, /etc, /proc, /dev/null
// …) is always readable and executable.
struct Confinement {
  // Absolute paths inside the sandbox; what lies there may be run too, as programs in HOME must be.
  std::vector<std::string> read_write;
  std::vector<std::string> read_only;        // absolute paths, readable and executable
  std::vector<std::uint16_t> connect_ports;  // TCP ports it may connect to; kEgressPort is the way out
  std::vector<std::uint16_t> bind_ports;
};

// Directories and small files of PID 1, made in this order: trees, then files.
struct Preparation {
  // `path` (beneath a root, its parent existing or made 0711 root) becomes a 0711 directory of root with one 0700
  // directory of uid:gid for each name in `children` (single components). What exists already with the right owner
  // stays.
  struct Tree {
    std::string path;
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<std::string> children;
  };
  // 0444, written by rename, in a directory of root.
  struct File {
    std::string path;
    std::string content;
    // On the disk before it has its name, which takes milliseconds: for what has to be whole after a crash of the
    // machine.
    bool durable = true;
  };
  std::vector<Tree> trees;
  std::vector<File> files;

  bool empty() const { return trees.empty() && files.empty(); }
};

struct ProcessSpec {
  std::string id;                 // [a-z0-9-]{1,64}, unique among the live processes of the sandbox
  std::vector<std::string> argv;  // argv[0] is looked up in env's PATH when it has no '/'
  std::vector<std::string> env;   // "NAME=value", complete: nothing is inherited
  std::string cwd;                // absolute
  uid_t uid = 0;                  // never 0: refused
  gid_t gid = 0;                  // never 0: refused
  mode_t umask = 0077;
  int nice = 0;             // 0..19
  int oom_score_adj = 500;  // 0..1000
  ProcessLimits limits;
  ServerLimits server;
  Confinement confine;
  // Made before the process runs, in the same request: what comes after a failure is not done, and nothing runs.
  Preparation prepare;
  // How many ways in to make (Supervisor::Spawned), of each family; at most 64.
  unsigned ways_in = 0;
  // No other server is in the sandbox. Where servers have no namespaces of their own this opens /tmp and all ports.
  bool alone = false;
};

// The host ends of the three pipes. Owned by the caller; the supervisor keeps duplicates that it never reads.
struct ProcessPipes {
  UniqueFd in;   // write end of stdin
  UniqueFd out;  // read end of stdout
  UniqueFd err;  // read end of stderr
};

// How a process ended: an outcome, not an error.
struct ProcessExit {
  int code = -1;                   // exit code; -1 when a signal ended it
  int signal = 0;                  // the signal; 0 when it exited
  bool killed_for_memory = false;  // SIGKILL that the sandbox's memory limit explains (memory.events / oom_control)
  PassedLimit limit;               // a limit of the server for which it was ended
  bool refused = false;            // by itself, rather, after the file system had refused it what passes the limit
  std::chrono::microseconds user_time{0};
  std::chrono::microseconds system_time{0};
  std::uint64_t peak_memory_bytes = 0;  // of the process and its waited-for children (ru_maxrss)

  // "exit code 3", "killed by SIGKILL (out of memory)", "it used 1,612 MiB of memory, its limit is 1,536
  // (box.memory_mb,
  // --memory)".
  std::string describe() const;
  // What to do about a limit, for people; empty when it was none.
  std::string advice() const;
  // A sentence about the server `name`: "server 'x' ended: exit code 3", "server 'x' was ended: it used …; raise …".
  std::string sentence(std::string_view name) const;
};

// A server keeps the processors from its neighbours.
struct ProcessPressure {
  double processors = 0;    // that it keeps busy
  std::uint64_t tasks = 0;  // processes and threads

  // About the server `name`: "server 'x' keeps 1.9 processors busy, with 4 processes and threads, and …".
  std::string sentence(std::string_view name) const;
};

// A process as the supervisor lists it to a new controller.
struct ProcessStatus {
  std::string id;
  pid_t pid = 0;  // inside the sandbox
  uid_t uid = 0;
  bool running = false;
  std::optional<ProcessExit> exit;  // set once it ended and nobody acknowledged it yet
};

}  // namespace mcpbox::box
